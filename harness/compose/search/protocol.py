"""What a searcher is: it proposes from what is known, and keeps nothing that a replay would not give it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from harness.chance import pick
from harness.compose.composition import Composition
from harness.errors import WrongUsage

Outcome = Literal["complete", "pruned", "failed", "duplicate", "infeasible"]


@dataclass(frozen=True, kw_only=True)
class SearchSpace:
    """All sequences of `layers` tokens out of `alphabet`.

    Raises WrongUsage where the alphabet is empty or names a token twice, or there is no layer.
    """

    alphabet: tuple[str, ...]
    layers: int

    def __post_init__(self) -> None:
        if not self.alphabet or len(set(self.alphabet)) != len(self.alphabet):
            raise WrongUsage(f"alphabet: expected distinct tokens, got {' '.join(self.alphabet) or 'none'}.")
        if self.layers < 1:
            raise WrongUsage(f"layers: expected one or more, got {self.layers}.")

    @property
    def size(self) -> int:
        return int(len(self.alphabet) ** self.layers)

    def nth(self, index: int) -> Composition:
        """The composition at `index` (0 to size - 1) in the order in which the last layer varies fastest."""
        if not 0 <= index < self.size:
            raise ValueError(f"index: expected 0 to {self.size - 1}, got {index}")
        tokens: list[str] = []
        for _ in range(self.layers):
            index, digit = divmod(index, len(self.alphabet))
            tokens.append(self.alphabet[digit])
        return Composition(tuple(reversed(tokens)))

    def draw(self, rng: random.Random) -> Composition:
        """One composition, each as likely."""
        return Composition(tuple(pick(rng, self.alphabet) for _ in range(self.layers)))

    def __contains__(self, composition: Composition) -> bool:
        return len(composition) == self.layers and set(composition.tokens) <= set(self.alphabet)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A proposal and what became of it. `fitness` is the higher the better; None where none was found.

    `rung` is the last one that it was evaluated on, counted from 0.
    """

    number: int
    composition: Composition
    outcome: Outcome
    fitness: float | None
    rung: int = 0

    @property
    def merit(self) -> tuple[int, float]:
        """Sorts trials from worse to better: a later rung first, since it was earned, then fitness.

        Fitness of different rungs is of different numbers of steps and seeds, so it is not compared.
        """
        assert self.fitness is not None, f"trial {self.number} has no fitness"
        return self.rung, self.fitness


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
