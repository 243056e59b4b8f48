"""Means with 95 % intervals, of values and of paired differences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from scipy import special  # not scipy.stats, which takes a second to load

LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class Interval:
    """The mean of `n` values and where it lies with 95 % confidence."""

    mean: float
    low: float
    high: float
    n: int
    method: Literal["t"] = "t"

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
    reach = float(special.stdtrit(len(array) - 1, (1 + LEVEL) / 2)) * error
    mean = float(array.mean())
    return Interval(mean=mean, low=mean - reach, high=mean + reach, n=len(array))


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
