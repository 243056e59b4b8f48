"""The default: an earlier proposal is the likelier a parent the further it came."""

from __future__ import annotations

from collections.abc import Sequence

from harness.agents.protocol import Outcome
from harness.chance import generator, pick, pick_weighted
from harness.policies.protocol import Choice

_FRESH = 2
_WEIGHTS = {"admitted": 4, "clean": 3, "rejected": 1}
"""How likely a fresh draft is, and how likely a parent of each status is, beside each other."""


class ByStatus:
    """First the kind is drawn (fresh, or a status that occurs), then one of that kind, so that many
    rejections do not make a rejected parent likelier.
    """

    name = "by-status"
    version = 1

    def choose(
        self, outcomes: Sequence[Outcome], positions: Sequence[int], *, seed: int
    ) -> tuple[Choice, ...]:
        return tuple(Choice(parent=_parent(outcomes, position, seed)) for position in positions)


def _parent(outcomes: Sequence[Outcome], position: int, seed: int) -> Outcome | None:
    rng = generator(seed, "parent", position)
    groups = {status: [outcome for outcome in outcomes if outcome.status == status] for status in _WEIGHTS}
    options: list[tuple[int, list[Outcome]]] = [(_FRESH, [])]
    options.extend((_WEIGHTS[status], group) for status, group in groups.items() if group)
    group = pick_weighted(rng, options)
    return pick(rng, group) if group else None
