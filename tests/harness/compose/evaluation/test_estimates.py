from __future__ import annotations

import math
import statistics

import pytest

from harness.chance import generator
from harness.compose.evaluation.estimates import Estimate, paired, ratio


def test_with_denominators_of_one_it_is_the_mean_and_its_standard_error() -> None:
    values = [0.0, 1.0, 1.0, 1.0, 0.0, 1.0, 0.5]
    found = ratio(values, [1.0] * 7)
    assert found.value == pytest.approx(statistics.mean(values))
    assert found.stderr == pytest.approx(statistics.stdev(values) / math.sqrt(7))


def test_the_standard_error_of_a_ratio_is_how_far_repeated_samples_spread() -> None:
    rng = generator(0, "ratio")

    def sample() -> Estimate:
        sizes = [rng.uniform(100.0, 3000.0) for _ in range(40)]
        return ratio([size * rng.gauss(2.0, 0.3) for size in sizes], sizes)

    samples = [sample() for _ in range(2000)]
    spread = statistics.stdev(found.value for found in samples)
    told = statistics.mean(found.stderr or 0.0 for found in samples)
    assert told == pytest.approx(spread, rel=0.1)


def test_one_text_has_no_standard_error() -> None:
    assert ratio([3.0], [2.0]) == Estimate(value=1.5, stderr=None)


@pytest.mark.parametrize("denominators", [[1.0], [0.0, 0.0], [1.0, 1.0, 1.0]])
def test_what_is_no_ratio_is_refused(denominators: list[float]) -> None:
    with pytest.raises(ValueError, match="as many numerators as denominators"):
        ratio([1.0, 2.0], denominators)


def test_a_model_does_not_differ_from_itself() -> None:
    assert paired([1.0, 5.0, 2.0], [1.0, 5.0, 2.0], [1.0, 4.0, 2.0]) == Estimate(value=0.0, stderr=0.0)


def test_pairing_leaves_out_what_the_texts_have_in_common() -> None:
    theirs = [1.0, 40.0, 7.0, 90.0]
    ours = [value + 0.5 + 0.01 * index for index, value in enumerate(theirs)]
    found = paired(ours, theirs, [1.0] * 4)
    alone = ratio(ours, [1.0] * 4)
    assert found.value == pytest.approx(0.515)
    assert found.stderr is not None
    assert alone.stderr is not None
    assert found.stderr < alone.stderr / 1000


def test_distance_from_chance_is_in_standard_errors() -> None:
    assert Estimate(value=0.35, stderr=0.05).above(0.25) == pytest.approx(2.0)
    assert Estimate(value=1.0, stderr=0.0).above(0.25) is None
    assert Estimate(value=1.0, stderr=None).above(0.25) is None
