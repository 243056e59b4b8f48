"""The control: every proposal is a draft that knows of none before it."""

from __future__ import annotations

from collections.abc import Sequence

from harness.agents.protocol import Outcome
from harness.policies.protocol import Choice


class OneShot:
    """Drafts only, without feedback: what an agent does by itself."""

    name = "one-shot"
    version = 1

    def choose(
        self, outcomes: Sequence[Outcome], positions: Sequence[int], *, seed: int
    ) -> tuple[Choice, ...]:
        del outcomes, seed
        return tuple(Choice(operator="draft", feedback=False) for _ in positions)
