"""What a policy is told and what it chooses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from harness.agents.protocol import Operator, Outcome


@dataclass(frozen=True, kw_only=True)
class Choice:
    """How one proposal is to come about: grown from `parent`, or drafted where it is None.

    `operator` None leaves that choice to the agent. `mates` are the positions that a crossover may use, None
    for any. Without `feedback` the agent is told of no outcome at all.
    """

    parent: Outcome | None = None
    operator: Operator | None = None
    mates: tuple[int, ...] | None = None
    feedback: bool = True


class Policy(Protocol):
    """Chooses for a whole round at once."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> int:
        """Goes up when the same arguments would give other choices, so that old runs are not resumed."""
        ...

    def choose(
        self, outcomes: Sequence[Outcome], positions: Sequence[int], *, seed: int
    ) -> tuple[Choice, ...]:
        """One choice for each of `positions`, the places in the run of the proposals that are wanted.

        `outcomes` are those of this policy's own earlier proposals, in order: all rounds before this one.
        """
        ...


def merit(outcome: Outcome) -> tuple[int, float, int]:
    """For comparing outcomes: admission first, then the score, then the earlier one."""
    rank = {"admitted": 2, "clean": 1}.get(outcome.status, 0)
    score = float("-inf") if outcome.score is None else outcome.score
    return rank, score, -outcome.position


def passed(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Those that the judge let through as far as it was asked, the best first."""
    good = [outcome for outcome in outcomes if outcome.status in ("admitted", "clean")]
    return sorted(good, key=merit, reverse=True)
