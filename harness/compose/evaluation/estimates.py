"""Ratios of sums with their standard errors: bits per byte over texts, and differences between two models."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A value and its standard error; None where one cannot be told."""

    value: float
    stderr: float | None

    def above(self, chance: float) -> float | None:
        """How many standard errors it is above `chance`; None without one, or where it is zero."""
        return (self.value - chance) / self.stderr if self.stderr else None


def ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Estimate:
    """sum(numerators) / sum(denominators), texts being drawn independently.

    The standard error is the linearised one of a ratio estimator (Cochran, Sampling Techniques, 1977,
    section 6.4): residuals n_i - r d_i over the sum of denominators. With denominators of one it is that of
    a mean.
    """
    total = math.fsum(denominators)
    if len(numerators) != len(denominators) or total <= 0:
        raise ValueError(
            f"expected as many numerators as denominators, with a positive sum, got {len(numerators)} and "
            f"{len(denominators)}, with the sum {total}"
        )
    value = math.fsum(numerators) / total
    count = len(numerators)
    if count < 2:
        return Estimate(value=value, stderr=None)
    squares = math.fsum((n - value * d) ** 2 for n, d in zip(numerators, denominators, strict=True))
    return Estimate(value=value, stderr=math.sqrt(squares * count / (count - 1)) / total)


def paired(ours: Sequence[float], theirs: Sequence[float], denominators: Sequence[float]) -> Estimate:
    """`ratio` of ours minus `ratio` of theirs on the same texts: what the texts have in common cancels."""
    return ratio([a - b for a, b in zip(ours, theirs, strict=True)], denominators)
