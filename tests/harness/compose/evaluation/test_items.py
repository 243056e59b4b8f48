from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from harness.compose.corpus import Section, sections
from harness.compose.evaluation.items import CHOICES, CONTEXT, CONTINUATION, Item, make_items

HELD_OUT = sections("final")
TEXTS = {section.name: section.text for section in HELD_OUT}


@pytest.fixture(scope="module")
def items() -> list[Item]:
    return make_items(HELD_OUT)


def test_there_are_at_least_two_hundred(items: list[Item]) -> None:
    assert len(items) >= 200


def test_the_right_choice_follows_its_context_in_its_section(items: list[Item]) -> None:
    assert all(item.context + item.choices[item.answer] in TEXTS[item.section] for item in items)


def test_no_wrong_choice_follows_the_context_anywhere(items: list[Item]) -> None:
    everything = "\n".join(TEXTS.values())
    wrong = [
        item.context + choice
        for item in items
        for index, choice in enumerate(item.choices)
        if index != item.answer
    ]
    assert len(wrong) == (CHOICES - 1) * len(items)
    assert not [text for text in wrong if text in everything]


def test_wrong_choices_are_text_of_other_sections(items: list[Item]) -> None:
    for item in items[::10]:
        others = [text for name, text in TEXTS.items() if name != item.section]
        wrong = [choice for index, choice in enumerate(item.choices) if index != item.answer]
        assert all(any(choice in text for text in others) for choice in wrong)


def test_choices_of_an_item_have_equal_sizes_in_bytes_and_begin_a_word(items: list[Item]) -> None:
    for item in items:
        assert len(item.context.encode()) == CONTEXT
        assert {len(choice.encode()) for choice in item.choices} == {CONTINUATION}
        assert len(set(item.choices)) == CHOICES
        assert item.context[-1].isspace()
        assert not any(choice[0].isspace() for choice in item.choices)


def test_no_two_items_share_text(items: list[Item]) -> None:
    for name in {item.section for item in items}:
        begins = [
            TEXTS[name].index(item.context + item.choices[item.answer])
            for item in items
            if item.section == name
        ]
        gaps = [later - earlier for earlier, later in pairwise(begins)]
        assert all(gap >= CONTEXT + CONTINUATION for gap in gaps)


def test_every_position_holds_the_answer_about_equally_often(items: list[Item]) -> None:
    counts = Counter(item.answer for item in items)
    assert set(counts) == set(range(CHOICES))
    assert max(counts.values()) < 0.35 * len(items)


def test_items_are_the_same_every_time_and_others_under_another_seed(items: list[Item]) -> None:
    assert make_items(HELD_OUT) == items
    other = make_items(HELD_OUT, seed=1)
    assert [item.context for item in other] == [item.context for item in items]
    assert [item.choices for item in other] != [item.choices for item in items]


def test_the_border_of_a_table_is_no_choice() -> None:
    table = "\n".join(f"word{number} beside\n+{'-' * 70}+" for number in range(40))
    sections = [Section(name=str(number), text=f"{number} {table}") for number in range(5)]
    assert {choice[:5] for item in make_items(sections) for choice in item.choices}.isdisjoint({"+----"})


def test_a_section_without_room_for_a_gap_gives_no_item() -> None:
    short = [Section(name=str(number), text="word " * 20) for number in range(5)]
    assert make_items(short) == []
