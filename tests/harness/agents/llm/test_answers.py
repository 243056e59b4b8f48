from __future__ import annotations

from typing import Any

import pytest

from harness.agents.llm.answers import Submission, Unusable, read_answer
from harness.agents.llm.protocol import Completion

FILE = (
    '"""A mechanism."""\n\nSPEC = {"contract": 1}\n\n\n'
    "def _phi(x):\n    return x\n\n\ndef forward(q):\n    return _phi(q)\n"
)
PART = "return x\n"
OTHER = FILE.replace("return x", "return x + 1")


def read(text: str, base: str | None = None, **fields: Any) -> Submission | Unusable:
    return read_answer(Completion(text=text, finish=fields.pop("finish", "stop"), **fields), base)


def fenced(code: str, fence: str = "```", language: str = "python") -> str:
    return f"{fence}{language}\n{code}{fence}\n"


def block(search: str, replace: str) -> str:
    return f"<<<<<<< SEARCH\n{search}\n=======\n{replace}\n>>>>>>> REPLACE\n"


@pytest.mark.parametrize(
    "text",
    [
        fenced(FILE),
        fenced(FILE, language=""),
        fenced(FILE, fence="~~~~"),
        f"Here it is:\n\n{fenced(FILE)}\nI hope that it passes.",
        f"The change is\n{fenced(PART)}\nand the file\n{fenced(FILE)}",
        f"{fenced(FILE)}\nOnce more:\n{fenced(FILE)}",
        fenced(FILE).replace("\n", "\r\n"),
        f"<think>\n{fenced(OTHER)}\nNo.\n</think>\n{fenced(FILE)}",
        FILE,
    ],
)
def test_a_whole_file_is_found_whatever_stands_around_it(text: str) -> None:
    assert read(text) == Submission(source=FILE)


def test_a_fence_inside_a_longer_fence_is_part_of_the_file() -> None:
    file = FILE.replace("A mechanism.", "A mechanism.\n```\ncode\n```\n")
    assert read(fenced(file, fence="````")) == Submission(source=file)


def test_a_file_that_is_no_python_is_submitted_all_the_same() -> None:
    broken = FILE.replace("return x", "return (x")
    assert read(fenced(broken)) == Submission(source=broken)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "an empty answer"),
        ("  \n", "an empty answer"),
        ("I need more information.", "no code"),
        (fenced(PART), "1 code block(s) that are parts"),
        (fenced(FILE) + fenced(OTHER), "2 different ones"),
        (f"```python\n{FILE}", "a code block without its end"),
        ("<think>and so on", "nothing but thoughts"),
        (block("    return x", "    return 2 * x"), "no file to change"),
    ],
)
def test_what_holds_no_file_says_what_it_was(text: str, problem: str) -> None:
    answer = read(text)
    assert isinstance(answer, Unusable)
    assert problem in answer.problem


@pytest.mark.parametrize(
    "text",
    [
        "",
        "You write sequence-mixing mechanisms: one Python file each,",
        "First a sketch:\n```python\nx = 1\n```\nand now",
        FILE,
        f"```python\n{FILE[:40]}",
        block("    return x", "    return 2")[:40],
        block("a", "b"),
    ],
)
def test_a_cut_off_answer_is_never_taken_for_a_whole_one(text: str) -> None:
    answer = read(text, FILE, finish="length")
    assert isinstance(answer, Unusable)
    assert "cut off" in answer.problem


def test_a_closed_file_is_whole_even_if_the_talk_after_it_was_cut_off() -> None:
    assert read(fenced(FILE) + "This mech", finish="length") == Submission(source=FILE)


@pytest.mark.parametrize(("finish", "detail"), [("refusal", "I cannot"), ("malformed", "got a JSON list")])
def test_what_is_no_answer_keeps_its_reason(finish: str, detail: str) -> None:
    answer = read(fenced(FILE), finish=finish, detail=detail)
    assert isinstance(answer, Unusable)
    assert detail in answer.problem


def test_patches_apply_in_order_each_to_what_the_earlier_ones_left() -> None:
    text = fenced(
        block("    return x", "    y = x\n    return y") + "\n" + block("    return y", "    return y + 1")
    )
    answer = read(text, FILE)
    assert answer == Submission(source=FILE.replace("    return x", "    y = x\n    return y + 1"))


def test_an_empty_replacement_removes_lines() -> None:
    answer = read("<<<<<<< SEARCH\ndef _phi(x):\n    return x\n=======\n>>>>>>> REPLACE\n", FILE)
    assert answer == Submission(source=FILE.replace("def _phi(x):\n    return x\n", ""))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (block("    return  x", "    return 2"), "which is not in it. The nearest line is '    return x'"),
        (block("nowhere at all", "x"), "which is not in it. Copy"),
        (block("def _phi(x):\n\n    return x", "x"), "do not follow each other"),
        (block("def _phi(x):\nSPEC", "x"), "'SPEC', which is not in it"),
        (block("", "x"), "got none"),
        (block("    return x", "    return x"), "change nothing"),
        (
            block("    return x", "    return y") + block("    return x", "z"),
            "block 2: expected lines of the file",
        ),
        ("<<<<<<< SEARCH\na\n>>>>>>> REPLACE\n", "out of order"),
        ("<<<<<<< SEARCH\na\n=======\nb\n<<<<<<< SEARCH\n", "out of order"),
        ("<<<<<<< SEARCH\na\n=======\nb", "got the end of the answer"),
    ],
)
def test_a_patch_that_does_not_match_is_told_never_skipped(text: str, problem: str) -> None:
    answer = read(text, FILE)
    assert isinstance(answer, Unusable)
    assert problem in answer.problem


def test_lines_that_occur_twice_are_not_guessed_between() -> None:
    answer = read(block("    return x", "    return 2"), FILE + "\n\ndef g(x):\n    return x\n")
    assert isinstance(answer, Unusable)
    assert "occur 2 times (first at lines 7 and 15)" in answer.problem
