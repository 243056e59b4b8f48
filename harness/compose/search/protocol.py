"""What a searcher is: it proposes from what is known, and keeps nothing that a replay would not give it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from harness.compose.composition import Composition

Outcome = Literal["complete", "pruned", "failed", "duplicate", "infeasible"]


@dataclass(frozen=True, kw_only=True)
class SearchSpace:
    """All sequences of `layers` tokens out of `alphabet`."""

    alphabet: tuple[str, ...]
    layers: int

    @property
    def size(self) -> int:
        return int(len(self.alphabet) ** self.layers)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A proposal and what became of it. `fitness` is the higher the better; None where none was found."""

    number: int
    composition: Composition
    outcome: Outcome
    fitness: float | None
    rung: int = 0


class Searcher(Protocol):
    """Proposes rounds of compositions."""

    @property
    def name(self) -> str:
        """How commands and reports call it."""

    def propose(self, first: int, count: int, history: Sequence[Trial]) -> list[Composition]:
        """Compositions for the trials `first` to `first + count - 1`, given all finished trials in order.

        The answer is a function of the searcher's settings, `first`, `count` and `history`. Fewer than
        `count` where the space is used up.
        """
