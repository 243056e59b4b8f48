"""Outcomes that say only what a policy looks at."""

from __future__ import annotations

from collections.abc import Iterable

from harness.agents.protocol import Outcome, Proposal, Status
from harness.policies.protocol import Policy

CONSTANT = 'SPEC = {"causal": True, "state": {"S": "B H K V"}}\n'
LINEAR = 'SPEC = {"causal": True, "state": {}}\n'
BOTH_WAYS = 'SPEC = {"causal": False, "state": {}}\n'


def outcome(
    position: int,
    status: Status = "clean",
    *,
    operator: str = "draft",
    parent: int | None = None,
    score: float | None = None,
    skeleton: str = "linear_state/v1/ungated",
    source: str = CONSTANT,
    microseconds: Iterable[float] = (),
) -> Outcome:
    proposal = Proposal(
        source=source,
        skeleton=skeleton,
        operator=operator,
        slug="",
        slots={},
        note="",
        parent=parent,
    )
    numbers = {f"microseconds, H100 (model), shape {n}": float(t) for n, t in enumerate(microseconds)}
    return Outcome(
        position=position,
        proposal=proposal,
        fingerprint=str(position),
        status=status,
        numbers=numbers,
        score=score,
    )


def chosen(
    policy: Policy, outcomes: list[Outcome], count: int = 8, seed: int = 0
) -> list[tuple[str, int | None]]:
    """(operator, position of the parent) of the next proposals; `any` where the agent may choose."""
    start = len(outcomes)
    choices = policy.choose(outcomes, range(start, start + count), seed=seed)
    return [(c.operator or "any", None if c.parent is None else c.parent.position) for c in choices]
