from __future__ import annotations

import pytest

from harness.agents.llm.texts import canonical, descriptions, function_texts, named_template, slug
from tests.harness.agents.llm.scripted_model import SOURCE, UNGATED

UNREADABLE = ["", "def f(:", "\0", "x = " + "(" * 5000, "é = 1", "x" * 300_000, "SPEC = 1", "class A: pass"]


def test_a_mechanism_describes_its_slots_by_what_their_first_function_does() -> None:
    assert descriptions(SOURCE, UNGATED) == {
        "feature_map": "y = torch.exp(x); return y + 1.0",
        "scale": "K ** (-0.5)",
    }


def test_a_free_mechanism_is_described_by_its_first_line() -> None:
    expected = {"mechanism": "Linear attention: a state that adds up every token."}
    assert descriptions(SOURCE, None) == expected


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Sine-gated memory, of two kinds: it forgets.", "ungated-sine-gated-memory-of"),
        ("???", "ungated-draft"),
        ("A" * 90, "ungated-" + "a" * 32),
        ("../../etc: passwd", "ungated-etc"),
        ("Ünïcode näme", "ungated-n-code-n-me"),
    ],
)
def test_a_slug_is_made_of_the_first_words_and_fit_for_a_folder(title: str, expected: str) -> None:
    text = SOURCE.replace("Linear attention: a state that adds up every token.", title)
    assert slug(text, UNGATED.name, "draft") == expected


def test_the_template_is_read_and_functions_are_cut_out() -> None:
    assert named_template(SOURCE) == UNGATED.name
    assert function_texts(SOURCE, ["_scale", "_missing"]) == [
        "def _scale(K: int) -> float:\n    return K**-0.5"
    ]


@pytest.mark.parametrize(
    ("title", "shown"),
    [
        (r"A \ud800 title", "A ? title"),
        (r"\x1b[2J\x1b]0;mine\x07 title", "[2J ]0;mine title"),
        (r"Right \u202e to \u2066 left\x85", "Right to left"),
        (r"One\r line \t only", "One line only"),
    ],
)
def test_escapes_in_a_docstring_reach_neither_a_terminal_nor_a_record(title: str, shown: str) -> None:
    text = SOURCE.replace("Linear attention: a state that adds up every token.", title)
    assert descriptions(text, None) == {"mechanism": shown}
    assert slug(text, UNGATED.name, "draft").isascii()


def test_escapes_in_what_a_slot_returns_are_shown_as_they_are_written() -> None:
    text = SOURCE.replace("return K**-0.5", r"return '\x1b[31m \ud800' + f'\ud800{K}\u202e'")
    scale = descriptions(text, UNGATED)["scale"]
    assert scale.isprintable()
    assert scale.startswith(r"'\x1b[31m \ud800'")


@pytest.mark.parametrize("text", UNREADABLE, ids=range(len(UNREADABLE)))
def test_text_that_cannot_be_read_has_a_name_all_the_same(text: str) -> None:
    assert named_template(text) is None
    assert slug(text, "linear_state/v1/head_decay", "debug") == "head-decay-debug"
    assert descriptions(text, UNGATED) == {}
    assert function_texts(text, ["f"]) == []
    assert isinstance(canonical(text), str)
