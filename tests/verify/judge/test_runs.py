"""What a comparison becomes: a ratio, and a finding where it is too large or says nothing."""

from __future__ import annotations

import numpy as np
import pytest

from verify.judge.cases import FAR, Case
from verify.judge.runs import Outcome, _compare_loose, _judge, _times
from verify.judge.session import Executed
from verify.judge.tolerance import CAP, FACTOR, OTHER_ROUNDINGS, Comparison, Truth, compare
from verify.source.contract import Spec
from verify.source.lock import DEFAULT_TEMPLATES
from verify.source.static import check_static


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


def _spec() -> Spec:
    path = DEFAULT_TEMPLATES / "free" / "v1" / "gated_short_convolution.py"
    mechanism = check_static(path.read_bytes(), path=path.name).mechanism
    assert mechanism is not None
    return mechanism.spec


def _truth() -> Truth:
    oracle = np.linspace(1.0, 2.0, 2 * 24 * 2 * 4).reshape(2, 24, 2, 4)
    moved = [oracle * (1.0 + 2.0**-24), oracle * (1.0 - 2.0**-24), oracle]
    return Truth(oracle=oracle, perturbed=moved, eager=oracle)


def loose_rules(run: str, times: float, *, spoil: float = 0.0) -> list[str]:
    """What a run under other roundings is blamed for whose output is `times` tolerances off."""
    spec, true = _spec(), _truth()
    sign = np.where(np.arange(true.oracle.size) % 2, 1.0, -1.0).reshape(true.oracle.shape)
    once = compare(true.oracle + 1e-4 * sign, true, run_dtype=run, result_dtype=run).ratio
    got = true.oracle + sign * (1e-4 * times / once) + spoil
    loose = Executed(
        results={"output": got},
        raw={},
        uncovered={},
        changed=(),
        guards=(),
        events=(),
        counters={},
    )
    outcome = Outcome(case=Case(sizes=(("B", 2), ("T", 24)), dtype=run))
    _compare_loose(outcome, spec, loose, {"output": true})
    for finding in outcome.findings:
        assert f"at most {OTHER_ROUNDINGS[run]:g} times" in finding.message
    return [finding.rule for finding in outcome.findings]


@pytest.mark.parametrize("run", sorted(OTHER_ROUNDINGS))
def test_other_roundings_may_be_some_tolerances_off_and_no_more(run: str) -> None:
    assert loose_rules(run, 0.9 * OTHER_ROUNDINGS[run]) == []
    assert loose_rules(run, 1.1 * OTHER_ROUNDINGS[run]) == ["PRP-ROUNDING"]
    assert loose_rules(run, 0.0, spoil=np.nan) == ["PRP-ROUNDING"]


def test_every_dtype_of_a_run_has_its_allowance_under_other_roundings() -> None:
    assert set(OTHER_ROUNDINGS) == set(FACTOR)


def test_a_ratio_is_said_coarsely_and_never_above_what_it_is() -> None:
    assert _times(17.0, least=16.0) == "more than 16 times"
    assert _times(99.0, least=16.0) == "more than 16 times"
    assert _times(2000.0, least=16.0) == "more than 1000 times"
    assert _times(1.5) == "about"
    assert _times(30.0) == "more than 10 times"
    assert _times(float("nan")) == _times(float("inf")) == "a non-finite value against"
