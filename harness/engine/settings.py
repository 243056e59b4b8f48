"""What a run is. Everything that can change its results is in `Settings`, and the run id follows from it."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from harness.agents.protocol import Task
from harness.engine.allowance import Allowance
from harness.engine.members import Member, MemberSettings
from harness.objectives.protocol import Objective
from verify.rules import RULES_VERSION

Depth = Literal["quick", "full"]
ROUND_WIDTH = 8
"""Proposals per round, whatever the number of workers."""

FULL_PER_ROUND = 3
"""Clean candidates judged in full after each round."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One run of the search.

    budget: proposals at most. admit: candidates admitted at most. skeletons: (name, fingerprint) of each.
    members: who proposes. rules: version of the rules that mechanisms are judged by. objective: name and
    version of what scores the admitted ones. tokens, usd: of language models, at most; None is no limit.
    """

    family: str
    budget: int
    admit: int
    seed: int
    depth: Depth
    members: tuple[MemberSettings, ...]
    rules: str
    skeletons: tuple[tuple[str, str], ...]
    objective: str
    tokens: int | None = None
    usd: float | None = None
    width: int = ROUND_WIDTH
    full_per_round: int = FULL_PER_ROUND

    @classmethod
    def of(
        cls,
        task: Task,
        members: Sequence[Member],
        objective: Objective,
        *,
        family: str,
        budget: int,
        admit: int,
        depth: Depth,
        tokens: int | None = None,
        usd: float | None = None,
    ) -> Settings:
        """The settings of a run of these, under the rules that judge now. Where it is written and by how many
        workers is not among them.
        """
        return cls(
            family=family,
            budget=budget,
            admit=admit,
            seed=task.seed,
            depth=depth,
            members=tuple(member.settings for member in members),
            rules=RULES_VERSION,
            skeletons=tuple((skeleton.name, skeleton.fingerprint) for skeleton in task.skeletons),
            objective=f"{objective.name}/{objective.version}",
            tokens=tokens,
            usd=usd,
        )

    def to_json(self) -> dict[str, Any]:
        fields = asdict(self)
        fields["members"] = [member.to_json() for member in self.members]
        fields["skeletons"] = [list(pair) for pair in self.skeletons]
        return fields

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Settings:
        """The inverse of `to_json`. Raises ValueError, KeyError or TypeError for anything else."""
        members = tuple(MemberSettings.from_json(member) for member in data["members"])
        skeletons = tuple((str(name), str(fingerprint)) for name, fingerprint in data["skeletons"])
        return cls(**{**data, "members": members, "skeletons": skeletons})

    def allowance(self, seconds: float | None) -> Allowance:
        """What the run may spend; `seconds` is no setting, so that a run may go on under another limit."""
        return Allowance(proposals=self.budget, tokens=self.tokens, usd=self.usd, seconds=seconds)

    @property
    def run_id(self) -> str:
        """E.g. `design-linear_state-s0-k3v7q2ab`: the same settings, the same run."""
        text = json.dumps(self.to_json(), sort_keys=True)
        digest = base64.b32encode(hashlib.sha256(text.encode()).digest()).decode().lower()
        return f"design-{self.family}-s{self.seed}-{digest[:8]}"
