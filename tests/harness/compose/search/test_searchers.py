from __future__ import annotations

import pytest

from harness.compose.composition import Composition
from harness.compose.search.evolution import Evolution
from harness.compose.search.protocol import Searcher, SearchSpace, Trial
from harness.compose.search.registry import SEARCHERS, searcher
from harness.errors import WrongUsage
from tests.harness.compose.evaluations import quality

SPACE = SearchSpace(alphabet=("mA", "M", "Mb"), layers=8)
SMALL = SearchSpace(alphabet=("mA", "M"), layers=3)


def finished(number: int, composition: Composition) -> Trial:
    """Every fifth fails, every third of the others is pruned."""
    if number % 5 == 4:
        return Trial(number=number, composition=composition, outcome="failed", fitness=None)
    worth = quality(composition.tokens)
    if number % 3 == 2:
        return Trial(number=number, composition=composition, outcome="pruned", fitness=worth / 2)
    return Trial(number=number, composition=composition, outcome="complete", fitness=worth, rung=1)


def search(proposer: Searcher, budget: int, width: int = 8) -> list[Trial]:
    history: list[Trial] = []
    while len(history) < budget:
        proposals = proposer.propose(len(history), min(width, budget - len(history)), tuple(history))
        if not proposals:
            break
        history += [finished(len(history) + n, one) for n, one in enumerate(proposals)]
    return history


@pytest.mark.parametrize("name", SEARCHERS)
def test_a_proposal_is_a_function_of_settings_numbers_and_history(name: str) -> None:
    once = searcher(name, SPACE, 3, budget=32)
    history = search(once, 24)
    again = searcher(name, SPACE, 3, budget=32)
    assert again.propose(24, 8, history) == once.propose(24, 8, history)
    assert search(again, 32)[:24] == history


@pytest.mark.parametrize("name", ["random", "tpe", "evolution"])
def test_other_seeds_and_numbers_give_other_proposals(name: str) -> None:
    history = search(searcher(name, SPACE, 0, budget=32), 24)
    first = searcher(name, SPACE, 0, budget=32).propose(24, 8, history)
    assert first != searcher(name, SPACE, 1, budget=32).propose(24, 8, history)
    assert first != searcher(name, SPACE, 0, budget=32).propose(32, 8, history)


@pytest.mark.parametrize("name", SEARCHERS)
def test_the_space_is_used_up_without_a_repeat(name: str) -> None:
    found = search(searcher(name, SMALL, 0, budget=40), 40)
    assert {trial.composition for trial in found} == {SMALL.nth(index) for index in range(SMALL.size)}
    assert len(found) == SMALL.size


@pytest.mark.parametrize("name", ["tpe", "evolution"])
def test_what_is_learnt_beats_chance_on_a_smooth_landscape(name: str) -> None:
    wins = 0
    for seed in range(5):
        best = {
            who: max(t.fitness or 0.0 for t in search(searcher(who, SPACE, seed, budget=64), 64))
            for who in (name, "random")
        }
        wins += best[name] > best["random"]
    assert wins >= 4


@pytest.mark.parametrize("name", ["tpe", "evolution"])
def test_a_history_of_failures_alone_does_not_stop_a_searcher(name: str) -> None:
    history = [Trial(number=n, composition=SPACE.nth(n), outcome="failed", fitness=None) for n in range(24)]
    proposals = searcher(name, SPACE, 0, budget=64).propose(24, 8, history)
    assert len(set(proposals)) == 8


def test_searchers_with_one_seed_start_from_the_same_compositions() -> None:
    starts = [
        searcher(name, SPACE, 7, budget=64).propose(0, 8, []) for name in ("random", "tpe", "evolution")
    ]
    assert starts[0] == starts[1] == starts[2]


def test_a_child_differs_from_a_recent_parent_in_one_layer() -> None:
    history = [
        Trial(number=n, composition=SPACE.nth(31 * n), outcome="complete", fitness=n / 40) for n in range(40)
    ]
    proposer = Evolution(space=SPACE, seed=0, population=8)
    for child in proposer.propose(40, 8, history):
        differences = [
            sum(a != b for a, b in zip(child.tokens, parent.composition.tokens, strict=True))
            for parent in history[-8:]
        ]
        assert min(differences) == 1


def test_age_ends_the_fittest() -> None:
    old = Trial(number=0, composition=SPACE.nth(6000), outcome="complete", fitness=99.0)
    young = [Trial(number=n, composition=SPACE.nth(0), outcome="complete", fitness=0.1) for n in range(1, 9)]
    proposer = Evolution(space=SPACE, seed=0, population=8, tournament=8)
    for child in proposer.propose(9, 4, [old, *young]):
        assert sum(a != b for a, b in zip(child.tokens, SPACE.nth(0).tokens, strict=True)) == 1


def test_a_later_rung_counts_more_than_a_higher_score() -> None:
    high = Trial(number=0, composition=SPACE.nth(0), outcome="pruned", fitness=0.9, rung=0)
    late = Trial(number=1, composition=SPACE.nth(1), outcome="complete", fitness=0.1, rung=1)
    assert late.merit > high.merit


def test_every_composition_has_one_place_in_the_space() -> None:
    found = [SMALL.nth(index) for index in range(SMALL.size)]
    assert len(set(found)) == 8
    assert str(found[1]) == "mA mA M"
    with pytest.raises(ValueError, match="0 to 7"):
        SMALL.nth(8)


def test_an_unknown_searcher_names_the_nearest() -> None:
    with pytest.raises(WrongUsage, match="Did you mean evolution"):
        searcher("evolutionary", SPACE, 0, budget=8)
