"""Outcomes for prompts to speak of."""

from __future__ import annotations

from typing import Any

from harness.agents.protocol import Outcome, Proposal, Status
from tests.harness.agents.llm.scripted_model import SOURCE, UNGATED

EXAMPLE = {
    "rule": "GRD-VALUE",
    "result": "d_k",
    "case": "B=1 T=3 H=1 K=7 V=5, float32",
    "index": [0, 1],
    "expected": 0.5,
    "got": 0.754321,
    "ratio": 912.3,
}


def outcome(position: int, status: Status = "clean", **fields: Any) -> Outcome:
    """Proposal `position`, whose source is the skeleton's unless told otherwise."""
    made: dict[str, Any] = {
        "source": SOURCE,
        "skeleton": UNGATED.name,
        "operator": "draft",
        "slug": f"ungated-{position}",
        "slots": {"scale": f"K / {position}"},
        "note": "",
    }
    made |= {name: fields.pop(name) for name in tuple(fields) if name in (*made, "parent", "problem")}
    return Outcome(
        position=position, proposal=Proposal(**made), fingerprint=str(position), status=status, **fields
    )
