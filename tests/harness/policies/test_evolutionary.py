from __future__ import annotations

from collections import Counter

from harness.agents.protocol import Outcome
from harness.policies.cells import Cell, cell_of, elites
from harness.policies.evolutionary import Evolutionary
from tests.harness.policies.made_up import BOTH_WAYS, CONSTANT, LINEAR, chosen, outcome

SOFTMAX = "softmax_attention/v1/plain"


def test_a_cell_is_growth_mixing_and_cost() -> None:
    fast = outcome(0, "admitted", microseconds=[365.4, 1117.9])
    assert cell_of(fast) == Cell(growth="constant", mixing="linear_state/v1/ungated", cost=9)
    assert cell_of(outcome(0, source=LINEAR, skeleton=SOFTMAX)) == Cell(
        growth="linear", mixing=SOFTMAX, cost=-1
    )
    assert cell_of(outcome(0, source=BOTH_WAYS)).growth == "none"
    assert cell_of(outcome(0, source="SPEC = {**other}\n")).growth == "linear"
    assert cell_of(outcome(0, source="not python (")).growth == "linear"


def test_the_elite_of_a_cell_is_admitted_first_and_then_has_the_best_score() -> None:
    cell = [
        outcome(0, "clean"),
        outcome(1, "admitted", score=1.0),
        outcome(2, "admitted", score=2.0),
        outcome(3, "admitted", score=2.0),
        outcome(4, "rejected"),
    ]
    assert [one.position for one in elites(cell).values()] == [2]


def test_rare_kinds_are_continued_as_often_as_common_ones() -> None:
    common = [outcome(n, "clean") for n in range(31)]
    rare = outcome(31, "clean", source=LINEAR, skeleton=SOFTMAX)
    counts = Counter(parent for _, parent in chosen(Evolutionary(islands=1), [*common, rare], 400))
    assert set(counts) == {None, 0, 31}
    assert abs(counts[0] - counts[31]) < 80
    assert 60 < counts[None] < 140


def test_islands_know_nothing_of_one_another_before_a_migration() -> None:
    policy = Evolutionary(islands=2, migration=16)
    found: list[Outcome] = [
        outcome(n, "clean", source=CONSTANT if n % 2 == 0 else LINEAR, skeleton=SOFTMAX if n % 2 else "a")
        for n in range(8)
    ]
    choices = policy.choose(found, range(8, 80), seed=0)
    for place, choice in enumerate(choices):
        assert choice.parent is None or choice.parent.position % 2 == place % 2
        assert choice.mates is None or all(position % 2 == place % 2 for position in choice.mates)
    later = [*found, *(outcome(n, "rejected") for n in range(8, 16))]
    parents = {c.parent.position for c in policy.choose(later, range(16, 88), seed=0)[::2] if c.parent}
    assert parents == {0, 1}


def test_an_island_without_an_elite_mends_or_drafts() -> None:
    found = [outcome(n, "rejected") for n in range(4)]
    operators = Counter(operator for operator, _ in chosen(Evolutionary(), found, 200))
    assert set(operators) == {"draft", "debug"}


def test_a_crossover_needs_two() -> None:
    found = [outcome(n, "clean") for n in range(4)]
    assert all(operator != "crossover" for operator, _ in chosen(Evolutionary(), found, 200))
    found.append(outcome(4, "clean", source=LINEAR, skeleton=SOFTMAX))
    assert any(operator == "crossover" for operator, _ in chosen(Evolutionary(), found, 200))
