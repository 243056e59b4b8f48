"""Greedy tree search: draft a few, mend what is broken, improve the best (Jiang et al. 2025, AIDE, arXiv
2502.13138).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.agents.protocol import Outcome
from harness.chance import generator
from harness.policies.protocol import Choice, passed


@dataclass(frozen=True, kw_only=True)
class Greedy:
    """`drafts` come first (a whole round where that is more, since nothing is known before it ends).

    Then half of the proposals mend a rejected one, newest first, as long as there is one that was not yet
    mended and is not the end of `debug_depth` mends in a row; the others improve the best. A mechanism that
    was improved `patience` times and is still the best has nothing left to give: the next best takes its
    place, and where there is none a draft.

    Five drafts are the paper's; three mends are what AIDE allows; four improvements are half a round, so that
    one round never hangs on one mechanism alone.
    """

    drafts: int = 5
    debug_depth: int = 3
    patience: int = 4

    version = 1

    @property
    def name(self) -> str:
        return "greedy"

    def choose(
        self, outcomes: Sequence[Outcome], positions: Sequence[int], *, seed: int
    ) -> tuple[Choice, ...]:
        made: list[Choice] = []
        grown = Counter(
            outcome.proposal.parent for outcome in outcomes if outcome.proposal.operator == "improve"
        )
        broken = self._broken(outcomes)
        best = passed(outcomes)
        for place, position in enumerate(positions, start=len(outcomes)):
            if place < self.drafts or not outcomes:
                made.append(Choice(operator="draft"))
                continue
            if broken and generator(seed, "greedy", position).randrange(2) == 0:
                made.append(Choice(parent=broken.pop(0), operator="debug"))
                continue
            parent = next((one for one in best if grown[one.position] < self.patience), None)
            if parent is None:
                made.append(Choice(operator="draft"))
                continue
            grown[parent.position] += 1
            made.append(Choice(parent=parent, operator="improve"))
        return tuple(made)

    def _broken(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """Rejected ones that are worth mending, the newest first."""
        known = {outcome.position: outcome for outcome in outcomes}
        mended = {o.proposal.parent for o in outcomes if o.proposal.operator == "debug"}
        return [
            outcome
            for outcome in reversed(outcomes)
            if outcome.status == "rejected"
            and outcome.position not in mended
            and _mends(outcome, known) < self.debug_depth
        ]


def _mends(outcome: Outcome, known: Mapping[int, Outcome]) -> int:
    """How many mends in a row led to an outcome."""
    count, here = 0, outcome
    while here.proposal.operator == "debug":
        parent = None if here.proposal.parent is None else known.get(here.proposal.parent)
        if parent is None:
            break
        count, here = count + 1, parent
    return count
