"""Which programs of a large grid to run, and what each of them stands for.

Latin hypercube: every axis of the grid is cut into as many strata as there are samples, and each stratum is
met once, whatever the other axes do. The first and the last index of every axis are among the samples, since
that is where tiles are ragged or alone; the first and the last program stand for themselves. The other
weights are calibrated (Deville and Särndal 1992, "Calibration Estimators in Survey Sampling", JASA 87): of
all weights that are exact for a cost which is a sum over axes of a constant, a slope, and what the first and
the last index add (and two last ones together), those nearest to equal ones. So causal attention, whose work
grows with the tile, and ragged tails are counted exactly from a handful of programs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from verify.seeds import derive

Array = npt.NDArray[Any]
Axis = tuple[int, ...]
"""A grid axis as digits, slowest first: (64, 16) for programs that are `tile * 16 + head`."""

_GOLDEN = (5.0**0.5 - 1.0) / 2.0
_SLACK = 4
"""Samples that calibration leaves free: with as many constraints as samples, weights would swing."""

_DRAWS = 32
"""Draws to look through for one whose points are distinct and whose weights are positive."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Program numbers (x fastest) and the weight of each; weights sum to the number of programs."""

    numbers: tuple[int, ...]
    weights: tuple[float, ...]
    complete: bool
    """Every program is in it, with weight 1."""


def digits_of(size: int, sizes: Iterable[int]) -> Axis:
    """The digits of an axis of `size` programs that a kernel cuts into rows of these `sizes`.

    Only sizes that divide the axis and each other in turn make a digit: others do not cut it into equal
    parts.
    """
    cuts = [1]
    for cut in sorted({value for value in sizes if 1 < value < size}):
        if size % cut == 0 and cut % cuts[-1] == 0:
            cuts.append(cut)
    cuts.append(size)
    return tuple(high // low for low, high in pairwise(cuts))[::-1]


def draw_sample(axes: Sequence[Axis], count: int, seed: int) -> Sample:
    """At most `count` programs of the grid with these axes (x, y, z); all of them where there are not twice
    as many.

    The first and the last program are always there, with weight 1: whatever the axes mean, they bound what
    the grid touches, and the last one is where every axis is ragged. A pure function of its arguments. Raises
    ValueError for an empty grid or fewer than 8 samples.
    """
    sizes = [size for axis in axes for size in axis]
    total = math.prod(sizes)
    if total < 1 or count < 8:
        raise ValueError(f"expected a grid with programs and at least 8 samples, got {axes} and {count}")
    if total <= 2 * count:  # a sample would save little, and may miss something
        return Sample(numbers=tuple(range(total)), weights=(1.0,) * total, complete=True)
    points, weights = _best_draw(sizes, count - 2, seed)
    weight_of = {0: 1.0, total - 1: 1.0}
    weight_of |= dict(zip(map(int, _numbers(points, axes)), map(float, weights), strict=True))
    numbers = tuple(sorted(weight_of))
    return Sample(numbers=numbers, weights=tuple(weight_of[number] for number in numbers), complete=False)


def _best_draw(sizes: Sequence[int], count: int, seed: int) -> tuple[Array, Array]:
    """Points (samples, digits) and their weights: the first draw of distinct points that calibrates.

    They stand for all programs but the first and the last.
    """
    last, total = [size - 1 for size in sizes], math.prod(sizes) - 2
    best: tuple[int, Array, Array] | None = None
    for attempt in range(_DRAWS):
        seeds = [derive(seed, "axis", attempt, axis) for axis in range(len(sizes))]
        columns = [_column(size, count, own) for size, own in zip(sizes, seeds, strict=True)]
        points = np.unique(np.stack(columns, axis=1), axis=0)
        points = points[points.any(axis=1) & (points != last).any(axis=1)]
        weights, exact = _calibrated(points, sizes)
        if not exact:
            weights = np.full(len(points), total / len(points))
        quality = len(points) + (count if exact else 0)
        if best is None or quality > best[0]:
            best = (quality, points, weights)
        if quality == 2 * count:
            break
    assert best is not None
    return best[1], best[2]


def _column(size: int, count: int, seed: int) -> Array:
    """One index for each sample on an axis: the two ends and one from every stratum between, shuffled."""
    words = np.asarray(np.random.Philox(key=seed).random_raw(count + 1))
    if size <= count:  # every index, as evenly as may be
        chosen = np.arange(count, dtype=np.int64) * size // count
    else:
        strata, inner = np.arange(count - 2, dtype=np.int64), size - 2
        low, high = 1 + strata * inner // (count - 2), 1 + (strata + 1) * inner // (count - 2)
        shift = float(words[-1] >> np.uint64(11)) / 2.0**53
        within = (shift + _GOLDEN * strata) % 1.0  # even over the strata, and in step with no period
        chosen = np.concatenate([[0], low + (within * (high - low)).astype(np.int64), [size - 1]])
    return chosen[np.argsort(words[:-1], kind="stable")]


def _numbers(points: Array, axes: Sequence[Axis]) -> Array:
    """Program numbers (x fastest) of points (samples, digits), digits slowest first within each axis."""
    number = np.zeros(len(points), np.int64)
    stride, column = 1, 0
    for axis in axes:
        index = np.zeros(len(points), np.int64)
        for size in axis:
            index = index * size + points[:, column]
            column += 1
        number += index * stride
        stride *= math.prod(axis)
    return number


def _calibrated(points: Array, sizes: Sequence[int]) -> tuple[Array, bool]:
    """Weights of the points (samples, digits), see the module, and whether they are positive and exact.

    The first and the last program are not theirs to stand for. Points can contradict: where one and the same
    sample is all there is of two indices of unequal share.
    """
    total, count = math.prod(sizes), len(points)
    equal = np.full(count, (total - 2) / count)
    rows: list[Array] = [np.ones(count)]
    wanted: list[float] = [total - 2.0]
    budget = count - _SLACK - 1
    order = sorted(range(len(sizes)), key=lambda axis: sizes[axis])
    for axis in order:
        size, index = sizes[axis], points[:, axis]
        whole = size - 1  # one flag for each index but one
        short = min(3, whole)
        if whole > short and whole + sum(min(3, sizes[a] - 1) for a in order if sizes[a] > size) <= budget:
            short = whole
        flags = range(size - 1) if short == whole else (0, size - 1)
        rows += [(index == value).astype(np.float64) for value in flags]
        wanted += [total / size - (value == 0) - (value == size - 1) for value in flags]
        if short != whole:
            rows.append(index / (size - 1))
            wanted.append(total / 2.0 - 1.0)
        budget -= short
    for one, other in combinations(order, 2):  # where two axes are ragged at once
        both = (points[:, one] == sizes[one] - 1) & (points[:, other] == sizes[other] - 1)
        if budget > 0 and both.any() and sizes[one] > 1 and sizes[other] > 1:
            rows.append(both.astype(np.float64))
            wanted.append(total / (sizes[one] * sizes[other]) - 1.0)
            budget -= 1
    basis = np.stack(rows)
    correction, *_ = np.linalg.lstsq(basis, np.asarray(wanted) - basis @ equal, rcond=None)
    weights: Array = equal + correction
    exact = np.allclose(basis @ weights, wanted, rtol=1e-6, atol=1e-6)
    return weights, bool(exact and (weights > 0.0).all())
