from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from harness.chance import generator
from harness.compose.aggregate import cluster, consensus
from harness.compose.composition import parse
from harness.compose.search.protocol import Trial
from harness.errors import HarnessError


def trials(*rows: tuple[str, float]) -> list[Trial]:
    return [
        Trial(number=n, composition=parse(text), outcome="complete", fitness=fitness, rung=1)
        for n, (text, fitness) in enumerate(rows)
    ]


def spread(values: list[float], labels: tuple[int, ...]) -> float:
    groups = [[v for v, label in zip(values, labels, strict=True) if label == one] for one in set(labels)]
    return sum(float(np.var(group)) * len(group) for group in groups)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_clusters_are_the_best_of_all_ways_to_cut(count: int) -> None:
    rng = generator(0, "values", count)
    values = [round(rng.random(), 1) for _ in range(11)]
    levels = sorted(set(values))
    ways = [
        tuple(sum(levels.index(v) < cut for cut in cuts) for v in values)
        for cuts in combinations(range(1, len(levels)), min(count, len(levels)) - 1)
    ]
    assert spread(values, cluster(values, count)) == pytest.approx(min(spread(values, way) for way in ways))


def test_label_zero_is_the_fittest_cluster_and_equal_values_stay_together() -> None:
    assert cluster([0.1, 0.9, 0.5, 0.9, 0.11, 0.52], 3) == (2, 0, 1, 0, 2, 1)
    assert cluster([0.5, 0.5, 0.5], 3) == (0, 0, 0)


def test_the_mode_is_that_of_the_top_cluster_alone() -> None:
    good = [("mA M mA M", 0.90), ("mA M mA mA", 0.91), ("mA M Mb M", 0.92)]
    bad = [("Mb Mb Mb Mb", 0.1 + n / 1000) for n in range(20)]
    first = consensus(trials(*bad, *good))[0]
    assert str(first.composition) == "mA M mA M"
    assert (first.members, first.method, first.searched) == (3, "independent", True)
    assert first.agreement == pytest.approx((1 + 1 + 2 / 3 + 2 / 3) / 4)


def test_conditioning_keeps_to_compositions_that_occur() -> None:
    rows = [("mA M M", 0.9), ("mA M M", 0.9), ("mA Mb Mb", 0.9), ("M Mb Mb", 0.9), ("Mb Mb Mb", 0.9)]
    found = {one.method: str(one.composition) for one in consensus(trials(*rows), clusters=1)}
    assert found == {"independent": "mA Mb Mb", "conditioned": "mA M M"}


def test_ties_go_to_the_fitter_and_not_to_the_order_of_trials() -> None:
    rows = [("M", 0.90), ("mA", 0.91), ("M", 0.905), ("mA", 0.9)]
    assert [str(consensus(trials(*order))[0].composition) for order in (rows, rows[::-1])] == ["mA", "mA"]


def test_trials_that_were_pruned_do_not_vote() -> None:
    pruned = Trial(number=9, composition=parse("Mb Mb"), outcome="pruned", fitness=5.0)
    assert [str(one.composition) for one in consensus([*trials(("mA M", 0.1)), pruned])] == ["mA M"]
    with pytest.raises(HarnessError, match="larger budget"):
        consensus([pruned])


def test_members_that_agree_on_nothing_have_no_consensus() -> None:
    assert consensus(trials(("mA M", 0.5), ("M Mb", 0.5), ("Mb mA", 0.5)), clusters=1) == ()


def test_a_consensus_that_was_a_pruned_trial_was_searched() -> None:
    pruned = Trial(number=9, composition=parse("mA M"), outcome="pruned", fitness=0.1)
    rows = trials(("mA Mb", 0.5), ("mA mA", 0.5), ("M M", 0.5), ("Mb M", 0.5))
    for known, searched in (([*rows, pruned], True), (rows, False)):
        found = [one for one in consensus(known, clusters=1) if str(one.composition) == "mA M"]
        assert [one.searched for one in found] == [searched]
