"""What a comparison becomes: a ratio, and a finding where it is too large or says nothing."""

from __future__ import annotations

import pytest

from verify.judge.cases import FAR, Case
from verify.judge.runs import Outcome, _judge
from verify.judge.tolerance import CAP, Comparison


def rules(tokens: int, *, sensitivity: float, ratio: float) -> list[str]:
    outcome = Outcome(case=Case(sizes=(("B", 1), ("T", tokens)), dtype="float32"))
    found = Comparison(ratio=ratio, where=(0, 0), sensitivity=sensitivity, expected=1.0, got=2.0)
    _judge(outcome, "output", found, parallel=False)
    return [finding.rule for finding in outcome.findings]


@pytest.mark.parametrize(("tokens", "expected"), [(1041, ["NUM-ILL-CONDITIONED"]), (FAR, [])])
def test_conditioning_is_asked_at_hundreds_of_tokens_alone(tokens: int, expected: list[str]) -> None:
    assert rules(tokens, sensitivity=2.0 * CAP["float32"], ratio=0.1) == expected


@pytest.mark.parametrize("sensitivity", [1e-6, 2.0 * CAP["float32"]])
def test_a_wrong_number_thousands_of_tokens_on_is_a_finding_however_sensitive(sensitivity: float) -> None:
    assert rules(FAR, sensitivity=sensitivity, ratio=0.6) == ["NUM-OUTPUT"]
