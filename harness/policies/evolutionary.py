"""Evolution on islands, each with a MAP-Elites archive, and migration between neighbours."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from harness.agents.protocol import Operator, Outcome
from harness.chance import generator, pick, pick_weighted
from harness.policies.cells import elites
from harness.policies.protocol import Choice

_DRAFT = 4
"""One proposal in so many is a draft, which brings in what no archive holds."""

_OPERATORS: list[tuple[int, Operator]] = [(3, "improve"), (2, "crossover"), (1, "simplify")]


@dataclass(frozen=True, kw_only=True)
class Evolutionary:
    """Proposals go to the islands in turn. A parent is the elite of a cell that is drawn with equal chances,
    however many came to lie in it, so that a rare kind is as likely to be continued as a common one; what
    meets in a crossover lives on the same island. An island without an elite mends or drafts.

    After every `migration` proposals of the whole policy the elites of each island are also on the next one.

    Two islands, because a run of 32 proposals, the default, gives each 16: fewer would leave nothing to
    select from. Migration after 16 is every other round, so that islands differ for a while.
    """

    islands: int = 2
    migration: int = 16

    version = 1

    @property
    def name(self) -> str:
        return "evolutionary"

    def choose(
        self, outcomes: Sequence[Outcome], positions: Sequence[int], *, seed: int
    ) -> tuple[Choice, ...]:
        people = [self._population(outcomes, island) for island in range(self.islands)]
        return tuple(
            _choice(people[place % self.islands], generator(seed, "evolutionary", position))
            for place, position in enumerate(positions, start=len(outcomes))
        )

    def _population(self, outcomes: Sequence[Outcome], island: int) -> list[Outcome]:
        """The island's own outcomes, and the elites that its neighbour had at the last migration."""
        own = list(outcomes[island :: self.islands])
        neighbour = (island - 1) % self.islands
        if neighbour == island:
            return own
        moved = len(outcomes) // self.migration * self.migration
        return [*own, *elites(outcomes[:moved][neighbour :: self.islands]).values()]


def _choice(population: Sequence[Outcome], rng: random.Random) -> Choice:
    archive = list(elites(population).values())
    mates = tuple(outcome.position for outcome in archive)
    if not population or rng.randrange(_DRAFT) == 0:
        return Choice(operator="draft")
    if archive:
        options = _OPERATORS if len(archive) > 1 else [o for o in _OPERATORS if o[1] != "crossover"]
        return Choice(parent=pick(rng, archive), operator=pick_weighted(rng, options), mates=mates)
    rejected = [outcome for outcome in population if outcome.status == "rejected"]
    return Choice(parent=pick(rng, rejected), operator="debug") if rejected else Choice(operator="draft")
