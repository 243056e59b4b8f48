"""Every composition of a small space, once and in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from harness.compose.composition import Composition
from harness.compose.search.protocol import SearchSpace, Trial


@dataclass(frozen=True, kw_only=True)
class ExhaustiveSearch:
    """Trial n is the n-th composition of the space; `seed` has nothing to decide."""

    space: SearchSpace
    seed: int = 0
    name: str = "exhaustive"

    @classmethod
    def for_budget(cls, space: SearchSpace, seed: int, budget: int) -> Self:  # noqa: ARG003  nothing to size
        return cls(space=space, seed=seed)

    def propose(self, first: int, count: int, history: Sequence[Trial]) -> list[Composition]:  # noqa: ARG002  the order is fixed
        return [self.space.nth(index) for index in range(first, min(first + count, self.space.size))]
