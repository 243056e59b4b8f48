from __future__ import annotations

import math

import pytest

from harness.compose.halving import Rung, check_rungs, parse_rungs, promoted
from harness.errors import WrongUsage


def test_the_better_half_of_the_first_round_goes_on() -> None:
    assert promoted({0: 0.1, 1: 0.4, 2: 0.3, 3: 0.2}, [], factor=2) == (1, 2)


def test_a_round_is_measured_against_all_rounds_before() -> None:
    strong = [0.5, 0.6, 0.7, 0.8]
    assert promoted({4: 0.1, 5: 0.2, 6: 0.3, 7: 0.4}, strong, factor=2) == ()
    assert promoted({4: 0.9, 5: 0.9, 6: 0.9, 7: 0.1}, strong, factor=2) == (4, 5, 6)


def test_of_equal_scores_the_earlier_goes_on() -> None:
    assert promoted({0: 0.5, 1: 0.5, 2: 0.5, 3: 0.5}, [], factor=2) == (0, 1)
    assert promoted({4: 0.5, 5: 0.5}, [0.5, 0.5], factor=2) == ()


def test_failures_are_never_promoted_and_do_not_raise_the_bar() -> None:
    assert promoted({0: None, 1: None, 2: 0.1, 3: None}, [None], factor=2) == (2,)
    assert promoted({0: None}, [], factor=2) == ()


def test_the_number_promoted_never_exceeds_the_share_of_all() -> None:
    cohort = {n: n / 10 for n in range(7)}
    for factor in (2, 3, 4):
        assert len(promoted(cohort, [], factor=factor)) == math.ceil(7 / factor)


def test_rungs_are_read_and_written_alike() -> None:
    rungs = parse_rungs("300:1, 600:2")
    assert rungs == (Rung(steps=300, seeds=1), Rung(steps=600, seeds=2))
    assert ",".join(str(rung) for rung in rungs) == "300:1,600:2"
    assert parse_rungs("300") == (Rung(steps=300, seeds=1),)
    with pytest.raises(WrongUsage, match="'300:x'"):
        parse_rungs("300:x")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("200:1,600:2", "300 steps or more"),
        ("600:2,300:2", "dearer"),
        ("300:1,300:1", "dearer"),
        ("300:0", "seed"),
    ],
)
def test_rungs_that_decide_nothing_are_refused(text: str, said: str) -> None:
    with pytest.raises(WrongUsage, match=said):
        check_rungs(parse_rungs(text), transition=300)


def test_numbers_of_steps_beyond_any_training_are_refused() -> None:
    with pytest.raises(WrongUsage, match="expected STEPS:SEEDS"):
        parse_rungs(f"{'9' * 5000}:1")
