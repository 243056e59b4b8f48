"""What an evaluation gives: plain values, apart from the library that measures them."""

from __future__ import annotations

from dataclasses import dataclass

from harness.compose.evaluation.estimates import Estimate


@dataclass(frozen=True, kw_only=True)
class Score:
    """One metric of one task. `per_item` holds (numerator, denominator) of each item, in the task's order,
    where the metric is a ratio of sums of them; `chance` is what guessing scores, None where unknown.
    """

    task: str
    metric: str
    estimate: Estimate
    items: int
    higher_is_better: bool
    chance: float | None
    per_item: tuple[tuple[float, float], ...] | None


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What a model scored, and lm-eval's own table of it (markdown)."""

    scores: tuple[Score, ...]
    table: str
