"""Regularised evolution (Real et al. 2019, arXiv 1802.01548): tournaments among the youngest, no elite.

The best of a random sample of the population has a child that differs in one layer; the child joins, the
oldest member leaves. Ageing is what regularises: a lucky score dies with its owner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from harness.chance import generator, pick
from harness.compose.composition import Composition
from harness.compose.search.protocol import SearchSpace, Trial
from harness.compose.search.rounds import TRIES, fill_round, uniform


@dataclass(frozen=True, kw_only=True)
class Evolution:
    """`population` members at most, the first ones uniform; tournaments of `tournament`, with replacement.

    All children of a round see the population as it was before the round. Raises ValueError for sizes below
    one.
    """

    space: SearchSpace
    seed: int
    population: int = 16
    tournament: int = 4
    name: str = "evolution"

    def __post_init__(self) -> None:
        if self.population < 1 or self.tournament < 1:
            raise ValueError(
                f"population and tournament: expected one or more, got {self.population}, {self.tournament}"
            )

    @classmethod
    def for_budget(cls, space: SearchSpace, seed: int, budget: int) -> Self:
        """A quarter of the budget is the first population, up to 16, so that small budgets evolve too."""
        return cls(space=space, seed=seed, population=max(4, min(16, budget // 4)))

    def propose(self, first: int, count: int, history: Sequence[Trial]) -> list[Composition]:
        members = [trial for trial in history if trial.fitness is not None][-self.population :]

        def draw(number: int, attempt: int) -> Composition:
            # One trial after another starts from nothing until as many were tried as the population holds.
            if number < self.population or not members:
                return uniform(self.space, self.seed, number, attempt)
            return self._child(members, number, attempt)

        return fill_round(self.space, seed=self.seed, first=first, count=count, history=history, draw=draw)

    def _child(self, members: Sequence[Trial], number: int, attempt: int) -> Composition:
        """A child of the tournament's winner; later attempts change more layers, to leave what is known."""
        rng = generator(self.seed, "evolution", number, attempt)
        sample = [pick(rng, members) for _ in range(self.tournament)]
        parent = max(sample, key=lambda trial: (trial.merit, -trial.number)).composition
        changes = min(self.space.layers, 1 + attempt * self.space.layers // TRIES)
        tokens = list(parent.tokens)
        for layer in rng.sample(range(self.space.layers), changes):
            others = [token for token in self.space.alphabet if token != tokens[layer]]
            tokens[layer] = pick(rng, others or tokens[layer : layer + 1])
        return Composition(tuple(tokens))
