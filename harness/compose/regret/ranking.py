"""Does a cheap rung rank compositions as the full budget does?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import stats

from harness.compose.regret.table import ScoreTable
from verify.seeds import derive

RESAMPLES = 500

_Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Rank correlations of one rung's means with the means at the full budget over seeds no rung has seen.

    (correlation, low, high) with a 95 % bootstrap interval over compositions; None where either side ranks
    nothing, all scores being equal. The last rung's own line says what seeds alone cost: it is the most that
    any rung can be expected to reach.
    """

    steps: int
    seeds: int
    spearman: tuple[float, float, float] | None
    kendall: tuple[float, float, float] | None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def agreements(table: ScoreTable) -> tuple[Agreement, ...]:
    """One line per rung of the table's settings."""
    rungs = table.settings.rungs
    used = max(rung.seeds for rung in rungs)
    truth = table.truth(range(used, table.seeds))
    rng = np.random.Generator(np.random.Philox(key=derive(table.settings.seed, "ranking")))
    resamples = rng.integers(len(truth), size=(RESAMPLES, len(truth)))
    found = []
    for rung, scores in zip(rungs, table.scores, strict=True):
        shown = np.asarray(scores[:, : rung.seeds].mean(axis=1))
        found.append(
            Agreement(
                steps=rung.steps,
                seeds=rung.seeds,
                spearman=_with_interval(_spearman, shown, truth, resamples),
                kendall=_with_interval(_kendall, shown, truth, resamples),
            )
        )
    return tuple(found)


def _with_interval(
    correlate: Callable[[_Array, _Array], float],
    shown: _Array,
    truth: _Array,
    resamples: np.ndarray[Any, np.dtype[np.int64]],
) -> tuple[float, float, float] | None:
    if np.ptp(shown) == 0 or np.ptp(truth) == 0:
        return None
    drawn = [
        correlate(shown[rows], truth[rows])
        for rows in resamples
        if np.ptp(shown[rows]) > 0 and np.ptp(truth[rows]) > 0
    ]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(correlate(shown, truth)), float(low), float(high)


def _spearman(a: _Array, b: _Array) -> float:
    return float(stats.spearmanr(a, b).statistic)


def _kendall(a: _Array, b: _Array) -> float:
    return float(stats.kendalltau(a, b).statistic)
