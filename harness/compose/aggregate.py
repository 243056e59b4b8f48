"""From many searched compositions to a few: the top cluster by fitness, and its mode layer by layer.

After Composer (arXiv 2510.00379), which clusters with K-means. In one dimension the best clustering can be
computed exactly (Wang & Song 2011, `Ckmeans.1d.dp`), so there is no start to choose and no luck in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from harness.compose.composition import Composition
from harness.compose.search.protocol import Trial
from harness.errors import HarnessError

Method = Literal["independent", "conditioned"]

CLUSTERS = 3
LEAST = 3
"""Members below which a mode says nothing; the next cluster joins until there are as many."""

_Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, kw_only=True)
class Consensus:
    """A composition that a cluster agrees on.

    method: `independent` takes the most frequent token of each layer; `conditioned` counts, layer after
    layer, only the members that agree with what was chosen before. members: size of the cluster. agreement:
    mean share of members that have the chosen token. searched: whether it is one of the trials itself.
    """

    composition: Composition
    method: Method
    members: int
    agreement: float
    searched: bool


def consensus(trials: Sequence[Trial], *, clusters: int = CLUSTERS) -> tuple[Consensus, ...]:
    """The distinct compositions that the top cluster, and the two best together, agree on.

    Only complete trials count, since fitness of earlier rungs cannot be compared with theirs. Members of
    which no two agree on a layer have none. Raises HarnessError where no trial is complete.
    """
    complete = sorted(
        (trial for trial in trials if trial.outcome == "complete"),
        key=lambda trial: (-trial.merit[1], trial.number),
    )
    if not complete:
        raise HarnessError("consensus: expected complete trials, got none. Search with a larger budget.")
    labels = cluster([trial.merit[1] for trial in complete], clusters)
    found: dict[Composition, Consensus] = {}
    for deepest in range(min(2, clusters)):
        members = _members(complete, labels, deepest)
        for method, form in _FORMS.items():
            composition = form(members)
            described = _described(composition, method, members, trials)
            if len(members) == 1 or described.agreement > 1 / len(members):  # else each stands for itself
                found.setdefault(composition, described)
    return tuple(found.values())


def cluster(values: Sequence[float], count: int) -> tuple[int, ...]:
    """A label for each value, 0 for the cluster with the highest: at most `count` intervals with the least
    sum of squared distances to their means. O(count n^2) for n distinct values. Equal values share a label.
    """
    levels, inverse, weights = np.unique(
        np.asarray(values, np.float64), return_inverse=True, return_counts=True
    )
    starts = _best_cuts(levels - levels.mean(), weights.astype(np.float64), min(count, len(levels)))
    labels = len(starts) - np.searchsorted(starts, np.arange(len(levels)), side="right")
    return tuple(int(label) for label in labels[inverse])


def _best_cuts(levels: _Array, weights: _Array, count: int) -> list[int]:
    """Where each cluster starts, ascending, by dynamic programming over the sorted `levels` (n,)."""
    n = len(levels)
    w, wx, wxx = (
        np.concatenate(([0.0], np.cumsum(part))) for part in (weights, weights * levels, weights * levels**2)
    )
    best = np.full((count + 1, n + 1), np.inf)
    best[0, 0] = 0.0
    cut = np.zeros((count + 1, n + 1), dtype=np.int64)
    for k in range(1, count + 1):
        for stop in range(k, n + 1):
            start = np.arange(k - 1, stop)
            inside = wxx[stop] - wxx[start] - (wx[stop] - wx[start]) ** 2 / (w[stop] - w[start])
            costs = best[k - 1, start] + inside
            cut[k, stop] = start[int(np.argmin(costs))]
            best[k, stop] = costs.min()
    starts, stop = [], n
    for k in range(count, 0, -1):
        stop = int(cut[k, stop])
        starts.append(stop)
    return starts[::-1]


def _members(complete: Sequence[Trial], labels: Sequence[int], deepest: int) -> list[Trial]:
    """The clusters from the best to `deepest`, and further ones while there are fewer than `LEAST`."""
    for last in range(deepest, max(labels) + 1):
        members = [trial for trial, label in zip(complete, labels, strict=True) if label <= last]
        if len(members) >= LEAST:
            return members
    return list(complete)


def _independent(members: Sequence[Trial]) -> Composition:
    layers = range(len(members[0].composition))
    return Composition(tuple(_mode(members, layer) for layer in layers))


def _conditioned(members: Sequence[Trial]) -> Composition:
    tokens: list[str] = []
    for layer in range(len(members[0].composition)):
        tokens.append(_mode(members, layer))
        members = [trial for trial in members if trial.composition.tokens[layer] == tokens[-1]]
    return Composition(tuple(tokens))


_FORMS: Mapping[Method, Callable[[Sequence[Trial]], Composition]] = {
    "independent": _independent,
    "conditioned": _conditioned,
}


def _mode(members: Sequence[Trial], layer: int) -> str:
    """The most frequent token of a layer; of equally frequent ones that of fitter members, then by name."""
    fitness: dict[str, list[float]] = {}
    for trial in members:
        fitness.setdefault(trial.composition.tokens[layer], []).append(trial.merit[1])
    return min(fitness, key=lambda token: (-len(fitness[token]), -sum(fitness[token]), token))


def _described(
    composition: Composition, method: Method, members: Sequence[Trial], trials: Sequence[Trial]
) -> Consensus:
    shares = [
        sum(trial.composition.tokens[layer] == token for trial in members) / len(members)
        for layer, token in enumerate(composition.tokens)
    ]
    return Consensus(
        composition=composition,
        method=method,
        members=len(members),
        agreement=sum(shares) / len(shares),
        searched=any(trial.composition == composition for trial in trials),
    )
