from __future__ import annotations

import pytest

from harness.agents.identity import identity
from harness.agents.protocol import Proposal
from verify.source.identity import fingerprint


def named(source: str, position: int = 0, problem: str = "") -> str:
    fields = {"skeleton": "a/v1/b", "operator": "draft", "slug": "s", "slots": {}, "note": ""}
    return identity(position, Proposal(source=source, problem=problem, **fields))  # type: ignore[arg-type]


def test_what_can_be_read_goes_by_its_fingerprint() -> None:
    assert named("def f(x):\n    return x\n") == named("def g(y):\n    return y\n")
    assert named("def f(x):\n    return x\n") == fingerprint("def f(x):\n    return x\n")


@pytest.mark.parametrize(
    "source", ["def f(:", "\0", "x = " + "(" * 5000, "x" * 300_000, "SPEC = lambda x: x"]
)
def test_what_cannot_be_read_goes_by_its_text(source: str) -> None:
    assert named(source) == named(source, position=3)
    assert named(source) != named(source + "\n")


def test_two_answers_without_a_mechanism_are_not_the_same_mechanism() -> None:
    assert named("", 1, "empty") != named("", 2, "empty")
