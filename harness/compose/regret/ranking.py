"""Does a cheap rung rank compositions as the full budget does?"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from harness.compose.regret.table import ScoreTable
from verify.seeds import derive

RESAMPLES = 1000

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
    n = len(truth)
    # Row 0 counts every composition once; each other row is a resample with replacement.
    counts = np.vstack([np.ones(n), rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES)])
    found = []
    for rung, scores in zip(rungs, table.scores, strict=True):
        shown = np.asarray(scores[:, : rung.seeds].mean(axis=1))
        found.append(
            Agreement(
                steps=rung.steps,
                seeds=rung.seeds,
                spearman=_with_interval(spearman(shown, truth, counts)),
                kendall=_with_interval(kendall(shown, truth, counts)),
            )
        )
    return tuple(found)


def spearman(a: _Array, b: _Array, counts: _Array) -> _Array:
    """Spearman's rho of a (n,) and b (n,) for each row of `counts` (r, n), how often each pair occurs: (r,).

    Ties share their mean rank. NaN where a row has all a, or all b, equal.
    """
    mean = (counts.sum(axis=1, keepdims=True) + 1) / 2
    x, y = _ranks(a, counts) - mean, _ranks(b, counts) - mean
    return _ratio((counts * x * y).sum(axis=1), (counts * x**2).sum(axis=1), (counts * y**2).sum(axis=1))


def kendall(a: _Array, b: _Array, counts: _Array) -> _Array:
    """Kendall's tau-b, with arguments and result as `spearman`."""
    x, y = np.sign(a[:, None] - a), np.sign(b[:, None] - b)
    concordant, untied_a, untied_b = (
        ((counts @ pairs) * counts).sum(axis=1) for pairs in (x * y, np.abs(x), np.abs(y))
    )
    return _ratio(concordant, untied_a, untied_b)


def _ranks(values: _Array, counts: _Array) -> _Array:
    """(r, n): the mean rank, from 1, of each value in each row's multiset."""
    below = (values[:, None] < values).astype(np.float64)
    equal = (values[:, None] == values).astype(np.float64)
    return np.asarray(counts @ below + (counts @ equal + 1) / 2)


def _ratio(both: _Array, a: _Array, b: _Array) -> _Array:
    with np.errstate(invalid="ignore"):
        return np.asarray(both / np.sqrt(a * b))


def _with_interval(correlations: _Array) -> tuple[float, float, float] | None:
    """The first, and where the middle 95 % of the others lie."""
    if np.isnan(correlations[0]):
        return None
    low, high = np.nanquantile(correlations[1:], [0.025, 0.975])
    return float(correlations[0]), float(low), float(high)
