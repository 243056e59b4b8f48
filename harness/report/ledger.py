"""What a design run tried, what became of it, and what it cost: in all, and for each of its agents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.engine.settings import Settings
from harness.engine.state import Entry, RunState, cpu_seconds, tally

_READING_STAGES = ("PAR", "POL", "LCK", "CON")


def ledger(settings: Settings, state: RunState) -> dict[str, Any]:
    """The counts of all proposals, and those of each agent under `agents`.

    `invalid` counts candidates by the rules they broke; `usd` is the cost of answers that are neither
    `uncounted` (no token counts) nor `unpriced` (no known price). `tokens_per_admitted` and
    `usd_per_admitted` are None where nothing was admitted.
    """
    agents = [
        {
            "name": member.name,
            "agent": member.agent,
            "policy": member.policy,
            **_counts([entry for entry in state.entries if entry.member == member.name], state),
        }
        for member in settings.members
    ]
    return {**_counts(state.entries, state), "agents": agents}


def measured(settings: Settings, state: RunState) -> dict[str, Any]:
    """What clocks said: CPU seconds of judging, in all, per admitted mechanism, and for each agent."""
    agents = {
        member.name: _seconds([entry for entry in state.entries if entry.member == member.name])
        for member in settings.members
    }
    return {**_seconds(state.entries), "gpu_seconds": 0.0, "agents": agents}


def valid_submissions(entries: Sequence[Entry], state: RunState) -> int:
    """Proposals that are mechanisms as far as reading them tells: none unusable, none rejected by what it
    says. A repeated text is as valid as the first of its kind.
    """
    firsts = (entry if entry.same_as is None else state.entries[entry.same_as] for entry in entries)
    return sum(_is_valid(entry) for entry in firsts)


def _is_valid(entry: Entry) -> bool:
    return entry.verdict is not None and all(f.stage not in _READING_STAGES for f in entry.findings)


def _counts(entries: Sequence[Entry], state: RunState) -> dict[str, Any]:
    statuses = [entry.status for entry in entries]
    admitted, valid = statuses.count("admitted"), valid_submissions(entries, state)
    tokens = sum(entry.proposal.tokens for entry in entries)
    usd = round(sum(entry.proposal.usd for entry in entries), 6)
    scores = [entry.score for entry in entries if entry.score is not None]
    return {
        "attempted": len(entries),
        "unusable": statuses.count("unusable"),
        "duplicate": statuses.count("duplicate"),
        "rejected": statuses.count("rejected"),
        "invalid": tally(entries),
        "clean": statuses.count("clean"),
        "admitted": admitted,
        "best_score": max(scores, default=None),
        "valid_submissions": valid,
        "valid_submission_rate": round(valid / len(entries), 4) if entries else None,
        "llm_answers": sum(entry.proposal.answers for entry in entries),
        "llm_answers_uncounted": sum(entry.proposal.uncounted for entry in entries),
        "llm_answers_unpriced": sum(entry.proposal.unpriced for entry in entries),
        "llm_tokens": tokens,
        "usd": usd,
        "tokens_per_admitted": round(tokens / admitted, 1) if admitted else None,
        "usd_per_admitted": round(usd / admitted, 6) if admitted else None,
    }


def _seconds(entries: Sequence[Entry]) -> dict[str, Any]:
    seconds = cpu_seconds(entries)
    admitted = sum(entry.status == "admitted" for entry in entries)
    return {
        "cpu_seconds": seconds,
        "cpu_seconds_per_admitted": round(seconds / admitted, 1) if admitted else None,
    }
