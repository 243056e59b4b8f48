from __future__ import annotations

import pytest

from harness.chance import generator
from harness.compose.intervals import paired, t_interval


def test_the_t_interval_is_the_textbook_one() -> None:
    found = t_interval([1.0, 2.0, 3.0, 4.0, 5.0])
    assert found.mean == pytest.approx(3.0)
    assert found.high - found.mean == pytest.approx(2.776445 * 0.7071068, rel=1e-5)


def test_the_t_interval_covers_the_mean_as_often_as_it_says() -> None:
    rng = generator(0, "coverage")
    covered = 0
    for _ in range(1000):
        found = t_interval([rng.gauss(1.0, 2.0) for _ in range(5)])
        covered += found.low <= 1.0 <= found.high
    assert 930 <= covered <= 970


def test_pairing_removes_what_both_share() -> None:
    rng = generator(0, "shared")
    shared = [rng.gauss(0.0, 10.0) for _ in range(6)]
    ours = [value + 0.5 + rng.gauss(0.0, 0.01) for value in shared]
    assert paired(ours, shared).excludes_zero
    assert not t_interval(shared).excludes_zero


@pytest.mark.parametrize("values", [[], [1.0], [1.0, float("nan")]])
def test_too_little_to_say_is_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="two or more finite"):
        t_interval(values)
