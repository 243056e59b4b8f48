"""Which clean candidates are judged in full: a function of the run's state, never of timing."""

from __future__ import annotations

from collections.abc import Sequence

from harness.engine.state import Entry, RunState


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
