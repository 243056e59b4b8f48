"""What a run is. Everything that can change its results is in `Settings`, and the run id follows from it."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

Depth = Literal["quick", "full"]
ROUND_WIDTH = 8
"""Proposals per round, whatever the number of workers."""

FULL_PER_ROUND = 3
"""Clean candidates judged in full after each round."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One run of the search.

    budget: proposals at most. admit: candidates admitted at most. skeletons: (name, fingerprint) of each.
    agent and rules: name and version of who proposes, version of the rules it is judged by.
    """

    family: str
    budget: int
    admit: int
    seed: int
    depth: Depth
    agent: str
    rules: str
    skeletons: tuple[tuple[str, str], ...]
    width: int = ROUND_WIDTH
    full_per_round: int = FULL_PER_ROUND

    def to_json(self) -> dict[str, Any]:
        fields = asdict(self)
        fields["skeletons"] = [list(pair) for pair in self.skeletons]
        return fields

    @property
    def run_id(self) -> str:
        """E.g. `design-linear_state-s0-k3v7q2ab`: the same settings, the same run."""
        text = json.dumps(self.to_json(), sort_keys=True)
        digest = base64.b32encode(hashlib.sha256(text.encode()).digest()).decode().lower()
        return f"design-{self.family}-s{self.seed}-{digest[:8]}"
