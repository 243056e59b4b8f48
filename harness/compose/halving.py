"""Successive halving (Jamieson & Talwalkar 2016, arXiv 1502.07943), decided round by round.

A candidate is promoted from a rung when it is among the best `1/factor` of all that were ever evaluated on
it, its own round included. That is the rule of ASHA (Li et al. 2020, arXiv 1810.05934) with a barrier after
each round in place of asynchrony: it depends on what was proposed, never on which worker was faster.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from harness.errors import WrongUsage


@dataclass(frozen=True, kw_only=True)
class Rung:
    """Train for `steps` steps from each of the first `seeds` seeds; fitness is the mean score."""

    steps: int
    seeds: int

    def __str__(self) -> str:
        return f"{self.steps}:{self.seeds}"


_DIGITS = 9
"""Of a number of steps or seeds: more would train for years."""


def parse_rungs(text: str) -> tuple[Rung, ...]:
    """Read `STEPS:SEEDS,...`, e.g. `300:1,600:2`. Raises WrongUsage for anything else."""
    rungs: list[Rung] = []
    for part in text.split(","):
        steps, _, seeds = part.strip().partition(":")
        numbers = (steps, seeds or "1")
        if not all(one.isdecimal() and len(one) <= _DIGITS for one in numbers):
            raise WrongUsage(
                f"rungs {text[:200]!r}: expected STEPS:SEEDS apart by commas, got the part {part[:40]!r}."
            )
        rungs.append(Rung(steps=int(steps), seeds=int(seeds or 1)))
    return tuple(rungs)


def check_rungs(rungs: Sequence[Rung], *, transition: int) -> None:
    """Raises WrongUsage unless rungs grow and none lies below `transition`.

    Below the task's transition step every composition is at chance, so a decision there would be a lottery.
    """
    if not rungs:
        raise WrongUsage("rungs: expected at least one, got none.")
    for rung in rungs:
        if rung.seeds < 1 or rung.steps < max(1, transition):
            raise WrongUsage(
                f"rungs: expected one seed or more and {max(1, transition)} steps or more, where the preset "
                f"begins to tell compositions apart, got {rung}."
            )
    for lower, upper in pairwise(rungs):
        if (upper.steps, upper.seeds) == (lower.steps, lower.seeds) or (
            upper.steps < lower.steps or upper.seeds < lower.seeds
        ):
            raise WrongUsage(f"rungs: expected each to be dearer than the one before, got {lower}, {upper}.")


def promoted(
    cohort: Mapping[int, float | None], earlier: Iterable[float | None], *, factor: int
) -> tuple[int, ...]:
    """The trial numbers out of `cohort` (number -> mean score; None where it failed) that go on.

    `earlier` are the scores of this rung in the rounds before. At most `ceil(n / factor)` of all `n` results
    are good enough; of equal ones the earlier. Failures count among the `n` and are never promoted.
    """
    before = [_low(score) for score in earlier]
    ranked = sorted(
        [(-score, -1, place) for place, score in enumerate(before)]
        + [(-_low(score), number, 0) for number, score in cohort.items()]
    )
    good = ranked[: math.ceil(len(ranked) / factor)]
    return tuple(sorted(number for score, number, _ in good if number >= 0 and score < math.inf))


def _low(score: float | None) -> float:
    return -math.inf if score is None else score
