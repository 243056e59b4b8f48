"""The two choices the engine makes: a parent for the next proposal, and which clean candidates are judged in
full.

Both are functions of the run's state and seed alone, never of timing or of the number of workers.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.agents.protocol import Outcome
from harness.chance import generator, pick, pick_weighted
from harness.engine.state import Entry, RunState

_FRESH = 2
_WEIGHTS = {"admitted": 4, "clean": 3, "rejected": 1}
"""How likely a fresh draft is, and how likely a parent of each status is, beside each other."""


def choose_parent(outcomes: Sequence[Outcome], *, seed: int, position: int) -> Outcome | None:
    """A parent among finished outcomes, or None for a fresh draft.

    First the kind is drawn (fresh, or a status that occurs), then one of that kind, so that many rejections
    do not make a rejected parent likelier.
    """
    rng = generator(seed, "parent", position)
    groups = {status: [outcome for outcome in outcomes if outcome.status == status] for status in _WEIGHTS}
    options: list[tuple[int, list[Outcome]]] = [(_FRESH, [])]
    options.extend((_WEIGHTS[status], group) for status, group in groups.items() if group)
    group = pick_weighted(rng, options)
    return pick(rng, group) if group else None


def choose_full(state: RunState, count: int) -> tuple[int, ...]:
    """Up to `count` positions of clean candidates for the full depth, different ones first.

    Greedy: each choice is the candidate whose skeleton, and then whose slot contents, were chosen or judged
    in full the least so far; ties go to the earlier proposal. Candidates that waited in earlier rounds take
    part.
    """
    seen = state.selected_entries()
    waiting = [entry for entry in state.with_status("clean") if entry.full is None and entry not in seen]
    chosen: list[Entry] = []
    while waiting and len(chosen) < count:
        best = min(waiting, key=lambda entry: (_likeness(entry, [*seen, *chosen]), entry.position))
        waiting.remove(best)
        chosen.append(best)
    return tuple(sorted(entry.position for entry in chosen))


def _likeness(entry: Entry, others: Sequence[Entry]) -> tuple[int, int]:
    same_skeleton = sum(other.proposal.skeleton == entry.proposal.skeleton for other in others)
    same_slots = sum(
        other.proposal.slots.get(slot) == text
        for other in others
        for slot, text in entry.proposal.slots.items()
    )
    return same_skeleton, same_slots
