"""The control of feedback: a draft, or any earlier mechanism, whatever the judge said of it."""

from __future__ import annotations

from collections.abc import Sequence

from harness.agents.protocol import Outcome
from harness.chance import generator, pick
from harness.policies.protocol import Choice


class AtRandom:
    """Every other proposal, on average, is a draft, so that the search neither starves nor stands still."""

    name = "random"
    version = 1

    def choose(
        self, outcomes: Sequence[Outcome], positions: Sequence[int], *, seed: int
    ) -> tuple[Choice, ...]:
        known = [outcome for outcome in outcomes if outcome.status in ("admitted", "clean", "rejected")]
        choices = []
        for position in positions:
            rng = generator(seed, "random policy", position)
            grown = bool(known) and rng.randrange(2) == 0
            choices.append(Choice(parent=pick(rng, known) if grown else None))
        return tuple(choices)
