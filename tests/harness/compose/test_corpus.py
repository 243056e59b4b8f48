from __future__ import annotations

import re
from typing import get_args

from harness.compose.corpus import Part, Section, corpus_hash, cut, sections


def paragraphs(section: Section) -> list[str]:
    return [" ".join(part.split()) for part in re.split(r"\n\s*\n", section.text)]


def test_no_paragraph_is_in_two_parts() -> None:
    parts = [{text for section in sections(part) for text in paragraphs(section)} for part in get_args(Part)]
    assert min(map(len, parts)) > 20
    assert len(set.union(*parts)) == sum(map(len, parts))


def test_fewer_than_one_in_a_hundred_windows_of_64_held_out_characters_occur_in_training() -> None:
    learned = "\n".join(" ".join(section.text.split()) for section in sections("train"))
    windows = {learned[start : start + 64] for start in range(len(learned) - 63)}
    texts = [" ".join(section.text.split()) for section in sections("final")]
    asked = [text[start : start + 64] for text in texts for start in range(len(text) - 63)]
    assert len(asked) > 20_000
    assert sum(window in windows for window in asked) < 0.01 * len(asked)


def test_each_part_is_large_enough_to_learn_from_and_to_measure_on() -> None:
    sizes = {part: sum(len(section.text) for section in sections(part)) for part in ("train", "final")}
    assert sizes["train"] > 200_000
    assert sizes["final"] > 30_000


def test_a_section_runs_from_its_heading_to_the_next() -> None:
    text = "One\n***\n\nfirst\n\n   indented\n\nTwo\n---\n\nsecond\n"
    assert list(cut({"t": text})) == [
        Section(name="t/One", text="One\n***\n\nfirst\n\n   indented"),
        Section(name="t/Two", text="Two\n---\n\nsecond"),
    ]


def test_a_heading_that_a_topic_repeats_is_told_apart() -> None:
    text = "A\n***\n\none\n\nB\n***\n\ntwo\n\nA\n***\n\nthree"
    assert [section.name for section in cut({"t": text})] == ["t/A", "t/B", "t/A (2)"]


def test_a_repeated_paragraph_is_kept_at_its_first_place_whatever_its_line_breaks() -> None:
    first, second = cut({"a": "A\n***\n\nsaid\ntwice", "b": "B\n***\n\nsaid twice\n\nonce"})
    assert first.text == "A\n***\n\nsaid\ntwice"
    assert second.text == "B\n***\n\nonce"


def test_where_a_section_belongs_depends_on_its_name_alone() -> None:
    assert Section(name="assert/x", text="a").part == Section(name="assert/x", text="b").part
    parts = [Section(name=str(number), text="").part for number in range(1000)]
    assert 150 < parts.count("final") < 250


def test_the_hash_of_the_corpus_is_sha256_in_hex() -> None:
    assert re.fullmatch("[0-9a-f]{64}", corpus_hash())
    assert corpus_hash() == corpus_hash()
