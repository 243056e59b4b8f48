"""Means with 95 % intervals, of values and of paired differences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from scipy import stats

from verify.seeds import derive

LEVEL = 0.95
RESAMPLES = 10_000

Method = Literal["t", "bootstrap"]


@dataclass(frozen=True, kw_only=True)
class Interval:
    """The mean of `n` values and where it lies with 95 % confidence."""

    mean: float
    low: float
    high: float
    n: int
    method: Method

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.mean:.4f} [{self.low:.4f}, {self.high:.4f}]"

    def signed(self) -> str:
        """For differences: with the sign, also where it is plus."""
        return f"{self.mean:+.4f} [{self.low:+.4f}, {self.high:+.4f}]"


def t_interval(values: Sequence[float]) -> Interval:
    """Student's interval of the mean: right for few values that are roughly normal, as means of scores are.

    Raises ValueError for fewer than two values, which say nothing of how they vary, or for any not finite.
    """
    array = _checked(values)
    error = float(array.std(ddof=1)) / math.sqrt(len(array))
    reach = float(stats.t.ppf((1 + LEVEL) / 2, len(array) - 1)) * error
    mean = float(array.mean())
    return Interval(mean=mean, low=mean - reach, high=mean + reach, n=len(array), method="t")


def bootstrap_interval(values: Sequence[float], *, seed: int) -> Interval:
    """Percentile interval of the mean over `RESAMPLES` resamples: for many values of no known shape.

    Repeatable from `seed`. Too narrow for fewer than ten values or so. Raises ValueError as `t_interval`.
    """
    array = _checked(values)
    rng = np.random.Generator(np.random.Philox(key=derive(seed, "bootstrap")))
    means = array[rng.integers(len(array), size=(RESAMPLES, len(array)))].mean(axis=1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(
        mean=float(array.mean()), low=float(low), high=float(high), n=len(array), method="bootstrap"
    )


def paired(ours: Sequence[float], theirs: Sequence[float]) -> Interval:
    """Student's interval of the mean of `ours[i] - theirs[i]`: both had the same seed and data at i.

    Raises ValueError where the lengths differ, and as `t_interval`.
    """
    if len(ours) != len(theirs):
        raise ValueError(f"paired: expected as many values of both, got {len(ours)} and {len(theirs)}")
    return t_interval([a - b for a, b in zip(ours, theirs, strict=True)])


def _checked(values: Sequence[float]) -> np.ndarray[Any, np.dtype[np.float64]]:
    array = np.asarray(values, dtype=np.float64)
    if len(array) < 2 or not np.isfinite(array).all():
        raise ValueError(f"interval: expected two or more finite values, got {list(values)}")
    return array
