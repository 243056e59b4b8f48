"""Uniform draws: the control that every other searcher has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from harness.compose.composition import Composition
from harness.compose.search.protocol import SearchSpace, Trial
from harness.compose.search.rounds import fill_round, uniform


@dataclass(frozen=True, kw_only=True)
class RandomSearch:
    """Every composition as likely, whatever is known."""

    space: SearchSpace
    seed: int
    name: str = "random"

    @classmethod
    def for_budget(cls, space: SearchSpace, seed: int, budget: int) -> Self:  # noqa: ARG003  nothing to size
        return cls(space=space, seed=seed)

    def propose(self, first: int, count: int, history: Sequence[Trial]) -> list[Composition]:
        return fill_round(
            self.space,
            seed=self.seed,
            first=first,
            count=count,
            history=history,
            draw=lambda number, attempt: uniform(self.space, self.seed, number, attempt),
        )
