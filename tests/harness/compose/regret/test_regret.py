from __future__ import annotations

import io
import json

import numpy as np
import pytest
from rich.console import Console
from scipy import stats

from harness.chance import generator
from harness.compose.engines.cached import Evaluations, MemoryCache
from harness.compose.engines.protocol import Evaluate
from harness.compose.halving import Rung
from harness.compose.proxies.request import ProxyRequest, ProxyResult
from harness.compose.regret.ranking import agreements, kendall, spearman
from harness.compose.regret.replay import replays
from harness.compose.regret.report import print_report, sentence, to_json
from harness.compose.regret.table import ScoreTable, measure
from harness.errors import WrongUsage
from tests.harness.compose.evaluations import InProcessEngine, evaluate, noise, quality, result, settings

SMALL = {"alphabet": ("mA", "M"), "layers": 6, "rungs": (Rung(steps=100, seeds=1), Rung(steps=200, seeds=1))}


def misleading(asked: ProxyRequest) -> ProxyResult:
    """Short training ranks compositions the wrong way round."""
    return result(quality(asked.tokens) * (1 if asked.steps == 200 else -1), asked.steps)


def noisy(asked: ProxyRequest) -> ProxyResult:
    return result(quality(asked.tokens) + 0.3 * noise(asked), asked.steps)


def table(function: Evaluate = evaluate, *, seeds: int = 4, layers: int = 6) -> ScoreTable:
    evaluations = Evaluations(InProcessEngine(function), MemoryCache())
    return measure(settings("exhaustive", **{**SMALL, "layers": layers}), evaluations, seeds=seeds)


def test_every_composition_has_every_score_once() -> None:
    engine = InProcessEngine()
    found = measure(settings("exhaustive", **SMALL), Evaluations(engine, MemoryCache()), seeds=3)
    assert len({one.key() for one in engine.asked}) == len(engine.asked) == found.evaluations == 64 * (1 + 3)
    assert [scores.shape for scores in found.scores] == [(64, 1), (64, 3)]
    place = 37
    asked = found.settings.request(found.compositions[place], index=2, steps=200)
    assert found.scores[1][place, 2] == evaluate(asked).score
    asked = found.settings.request(found.compositions[place], index=0, steps=100)
    assert found.scores[0][place, 0] == evaluate(asked).score


def test_without_noise_a_search_of_the_whole_space_regrets_nothing() -> None:
    found = {one.sampler: one for one in replays(table(misleading), count=3)}
    assert found["exhaustive"].regrets == (0.0, 0.0, 0.0)
    assert found["random"].interval.mean > 0


def test_noise_costs_even_the_search_of_the_whole_space() -> None:
    found = {one.sampler: one for one in replays(table(noisy), samplers=("random",), count=8)}
    assert found["exhaustive"].interval.mean > 0


def test_replays_repeat_and_searchers_are_paired() -> None:
    once, again = (replays(table(), count=4) for _ in range(2))
    assert once == again
    by_name = {one.sampler: one for one in once}
    versus = by_name["tpe"].versus_random
    assert versus is not None
    differences = np.subtract(by_name["tpe"].regrets, by_name["random"].regrets)
    assert versus.mean == pytest.approx(differences.mean())
    assert by_name["random"].versus_random is None


def test_a_searcher_never_has_more_evaluations_than_it_is_given() -> None:
    found = {one.sampler: one for one in replays(table(misleading, layers=4), evaluations=16, count=2)}
    assert found["random"].regrets == found["tpe"].regrets == (0.0, 0.0)
    few = {one.sampler: one for one in replays(table(misleading), evaluations=1, width=4, count=6)}
    assert few["random"].regrets == few["tpe"].regrets == few["evolution"].regrets


def test_a_rung_that_ranks_the_wrong_way_round_is_found_out() -> None:
    cheap, full = agreements(table(misleading))
    assert cheap.spearman is not None
    assert full.spearman is not None
    assert cheap.spearman[0] == pytest.approx(-1.0)
    assert full.spearman == pytest.approx((1.0, 1.0, 1.0))


def test_correlations_lie_in_their_intervals_and_noise_lowers_them() -> None:
    clear, dim = agreements(table())[1], agreements(table(noisy))[1]
    for one in (clear, dim):
        assert one.spearman is not None
        assert one.kendall is not None
        assert one.spearman[1] <= one.spearman[0] <= one.spearman[2]
        assert one.kendall[0] < one.spearman[0]
    assert clear.spearman is not None
    assert dim.spearman is not None
    assert dim.spearman[0] < clear.spearman[0]


def test_correlations_of_resamples_are_scipys_with_ties_and_repeats() -> None:
    rng = generator(0, "ranks")
    a, b = (np.array([float(rng.randrange(6)) for _ in range(30)]) for _ in range(2))
    rows = [[rng.randrange(30) for _ in range(30)] for _ in range(5)]
    counts = np.array([[row.count(n) for n in range(30)] for row in rows], dtype=float)
    expected = [
        (stats.spearmanr(a[row], b[row]).statistic, stats.kendalltau(a[row], b[row]).statistic)
        for row in rows
    ]
    assert np.column_stack([spearman(a, b, counts), kendall(a, b, counts)]) == pytest.approx(
        np.array(expected)
    )


def test_scores_that_are_all_equal_rank_nothing() -> None:
    assert [one.spearman for one in agreements(table(_level))] == [None, None]


def _level(asked: ProxyRequest) -> ProxyResult:
    return result(0.5, asked.steps)


def test_a_truth_that_some_rung_has_seen_is_refused() -> None:
    with pytest.raises(WrongUsage, match="more than the 1"):
        table(seeds=1)


def test_the_report_says_for_each_searcher_whether_it_beats_random() -> None:
    found = table()
    regrets, lines = replays(found, count=3), agreements(found)
    console = Console(file=io.StringIO(), width=120)
    print_report(found, regrets, lines, console)
    printed = console.file.getvalue()
    assert "tpe beats random: " in printed
    assert "evolution beats random: " in printed
    assert sentence(regrets[1]) in printed
    document = json.loads(json.dumps(to_json(found, regrets, lines), allow_nan=False))
    assert len(document["scores"]) == 64
    assert [one["sampler"] for one in document["regret"]] == ["random", "tpe", "evolution", "exhaustive"]
