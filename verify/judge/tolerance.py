"""How far a result may be from the float64 oracle, and how far it is.

The tolerance belongs to the judge: the oracle is run again on inputs moved by half an ulp of the run's dtype,
and the change of its result, joined with one rounding of the result, is what no implementation can be blamed
for (tol0). A kernel gets c times that. Errors and tolerances are root mean squares over small windows of
neighbouring elements (whole rows where a row is long enough), so a wrong tail or one wrong row is not
averaged away by a large tensor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from verify.dtypes import FORMATS, Float64, narrow, to_float64, ulp

FACTOR: Mapping[str, float] = {"float32": 40.0, "bfloat16": 6.0, "float16": 6.0}
"""c per dtype of the run. Chosen from the margins of honest kernels and of wrong ones (`nox -s margins`)."""

CAP: Mapping[str, float] = {"float32": 1e-3, "bfloat16": 0.3, "float16": 0.1}
"""The largest tol0, relative to the result: beyond it the definition itself amplifies rounding and is
refused.
"""

WINDOW = 64
"""Elements per window: enough for the RMS of three perturbations to be a stable yardstick (about 9%)."""

LOST_UNITS: Mapping[str, float] = {"float32": 32.0, "bfloat16": 1.0, "float16": 1.0}
"""The most that the float32 run of the reference may add to the yardstick, in units of the run's dtype.

Kernels accumulate in float32 whatever their inputs are, so what a recurrence repeats, it repeats in float32
only.
"""

CANCELLED_UNITS: Mapping[str, float] = {"float32": 2.0, "bfloat16": 0.4, "float16": 0.4}
"""What a gradient may be off where its terms cancel, in units of the run's dtype at the size of the terms."""

OTHER_ROUNDINGS: Mapping[str, float] = {"float32": 16.0, "bfloat16": 2.0, "float16": 2.0}
"""How many tolerances a run under other roundings may be off, per dtype of the run (PRP-ROUNDING).

At least three times the worst honest ratio, under a third of what every wrong mutant reaches in float32
(50, `nox -s margins`). Measured: 2.1 in float32, 0.30 in bfloat16 and 0.41 in float16 over skeletons,
candidates and tests/honest at four plans each; 4.2 for a softmax with factor 1, whose scores reach hundreds:
an exponential is wrong by its argument's last bit times the argument's size, in its value's units.
"""

UNDERFLOW = 1e-30
"""Absolute errors below this times (1 + the largest result) are flushes of tiny numbers, not mathematics."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """`ratio` is the largest error / tolerance over all windows (inf where shapes or finiteness differ).

    `where` is the index of the worst element; `sensitivity` is tol0 relative to the result or, for a gradient
    that cancels, to its terms.
    """

    ratio: float
    where: tuple[int, ...] | None
    sensitivity: float
    expected: float
    got: float


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What one result should be, and how well arithmetic can know it.

    `oracle` is the float64 reference's; `perturbed` the same on inputs moved by one ulp (three
    or more); `eager` the reference's in plain float32, which shows where exact values cancel; `terms` is the
    size of the terms that make up a gradient (see `gradient_terms`), 0 for other results.
    """

    oracle: Float64
    perturbed: Sequence[Float64]
    eager: Float64
    terms: float = 0.0


def compare(got: Float64, truth: Truth, *, run_dtype: str, result_dtype: str) -> Comparison:
    """Compare one result, shape (..., T, D) or any other, with what it should be."""
    oracle = truth.oracle
    if got.shape != oracle.shape:
        return Comparison(ratio=np.inf, where=None, sensitivity=0.0, expected=np.nan, got=np.nan)
    if got.size == 0:
        return Comparison(ratio=0.0, where=None, sensitivity=0.0, expected=0.0, got=0.0)
    finite = np.isfinite(got)
    if not finite.all():
        where = tuple(int(i) for i in np.argwhere(~finite)[0])
        return Comparison(
            ratio=np.inf, where=where, sensitivity=0.0, expected=float(oracle[where]), got=float(got[where])
        )
    change = yardstick(oracle, truth.perturbed, result_dtype)
    scale, level = _rms(oracle), _rms(change)
    size = max(scale, truth.terms)
    sensitivity = level / size if size > 0.0 else 0.0
    least = _least(truth, run_dtype, sensitivity)
    error = got - oracle
    ratios = _windows_rms(error) / (FACTOR[run_dtype] * np.maximum(_windows_rms(change), least))
    whole = _rms(error) / (FACTOR[run_dtype] * max(level, float(least.min())))
    spread = np.maximum(change, max(float(least.min()), 0.1 * level))
    where = tuple(int(i) for i in np.unravel_index(int(np.argmax(np.abs(error) / spread)), got.shape))
    return Comparison(
        ratio=max(float(ratios.max()), whole),
        where=where,
        sensitivity=sensitivity,
        expected=float(oracle[where]),
        got=float(got[where]),
    )


def gradient_terms(results: Sequence[tuple[Float64, Float64]], tensor: Float64) -> float:
    """The size that a gradient by `tensor` has where nothing cancels: |result| |cotangent| / |tensor|, per
    element.

    `results` are (result, cotangent) pairs. A result that does not depend on a tensor, or only through a
    quotient, has a gradient far below this, made of terms of this size. The terms of a narrow result reach a
    wide tensor as one inner product, which grows like the root of its length: it is not spread over the
    tensor's elements any further.
    """
    size = float(np.linalg.norm(tensor)) or 1.0
    return sum(
        float(np.linalg.norm(result) * np.linalg.norm(cotangent))
        / (size * float(np.sqrt(max(1, min(result.size, tensor.size)))))
        for result, cotangent in results
    )


def _least(truth: Truth, run_dtype: str, sensitivity: float) -> Float64:
    """Per window, the least yardstick.

    A window whose few perturbations happen to cancel is not held to less than the tensor's typical
    sensitivity. What plain arithmetic loses, because exact values cancel or because a recurrence repeats a
    rounding, is shown by the float32 run of the reference and allowed, but at most LOST_UNITS units of the
    dtype at the scale of the tensor or its terms: a reference that computes badly on purpose gains no more.
    In float32 the rows of a gradient share what is lost, since it is chance which of them cancel badly, and
    one that is zero by cancellation is allowed CANCELLED_UNITS of its terms, or of what the other rows show.
    """
    oracle, eager = truth.oracle, truth.eager
    unit = 2.0 ** -((FORMATS[run_dtype].mantissa_bits or 0) + 1)
    lost = np.where(np.isfinite(eager), eager - oracle, np.inf) * (unit / 2.0**-24)
    shown, floor = _windows_rms(lost), UNDERFLOW * (1.0 + float(np.max(np.abs(oracle))))
    if run_dtype == "float32" and truth.terms > 0.0:
        shown = np.maximum(shown, _rms(lost))
    if truth.terms > 0.0:
        floor = max(floor, CANCELLED_UNITS[run_dtype] * unit * max(_cancels(oracle, run_dtype), truth.terms))
    shown = np.minimum(shown, LOST_UNITS[run_dtype] * unit * max(_rms(oracle), truth.terms))
    return np.maximum(np.maximum(sensitivity * _windows_rms(oracle), shown), floor)


def _cancels(gradient: Float64, run_dtype: str) -> float:
    """The size of a whole gradient, in float32: what cancels in one row is made of what the others show."""
    return _rms(gradient) if run_dtype == "float32" else 0.0


def yardstick(oracle: Float64, perturbed: Sequence[Float64], result_dtype: str) -> Float64:
    """Per element: half the RMS change under the perturbations, joined with one rounding to the dtype."""
    total = np.zeros_like(oracle)
    for other in perturbed:  # moved by a whole ulp, so that nothing tells them from real inputs
        total += (0.5 * (other - oracle)) ** 2
    rounding = to_float64(narrow(oracle, result_dtype), result_dtype) - oracle
    rounding = np.maximum(np.abs(rounding), ulp(oracle, result_dtype) / np.sqrt(12.0))
    joined: Float64 = np.sqrt(total / max(1, len(perturbed)) + rounding**2)
    return joined


def _rms(values: Float64) -> float:
    return float(np.sqrt(np.mean(values * values)))


def tolerance_map(truth: Truth, *, run_dtype: str, result_dtype: str) -> Float64:
    """Per element, the tolerance of the window it lies in; the RMS error of a window is held to it.

    Has the result's shape.
    """
    oracle = truth.oracle
    change = yardstick(oracle, truth.perturbed, result_dtype)
    size, level = max(_rms(oracle), truth.terms), _rms(change)
    least = _least(truth, run_dtype, level / size if size > 0.0 else 0.0)
    allowed = FACTOR[run_dtype] * np.maximum(_windows_rms(change), least)
    moved = np.moveaxis(oracle, 1, 2) if oracle.ndim >= 3 else oracle
    starts, count = _windows(oracle)
    spread = np.repeat(allowed, np.diff(np.append(starts, count)), axis=1).reshape(moved.shape)
    return np.moveaxis(spread, 1, 2) if oracle.ndim >= 3 else spread


def _windows_rms(values: Float64) -> Float64:
    """RMS over windows of about WINDOW neighbouring elements.

    (B, T, H, ...) tensors are taken head by head, so that a window is a run of tokens of one head.
    """
    starts, count = _windows(values)
    rows = _heads(values)
    sums = np.add.reduceat(rows * rows, starts, axis=1)
    return np.sqrt(sums / np.diff(np.append(starts, count)))


def _heads(values: Float64) -> Float64:
    """The elements as rows that windows are cut from: one row for each head."""
    rows = np.moveaxis(values, 1, 2) if values.ndim >= 3 else values
    return rows.reshape(-1, rows.shape[-2] * rows.shape[-1]) if rows.ndim >= 2 else rows.reshape(1, -1)


def _windows(values: Float64) -> tuple[npt.NDArray[np.intp], int]:
    """Where the windows of a row of `_heads` start, and how long the row is."""
    count = _heads(values).shape[1]
    width = values.shape[-1] if values.ndim >= 4 else 1
    window = max(width, WINDOW // max(1, width) * max(1, width))
    starts = np.arange(0, count, window)
    if len(starts) > 1 and count - starts[-1] < window // 2:
        starts = starts[:-1]
    return starts, count
