"""The agents of a run: who proposes, by which policy, for which share of the proposals.

One agent is the usual case. Several are an ensemble: each follows its own policy and knows its own outcomes
only, as if it were alone; they share the run's budget and what was already proposed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from harness.agents.protocol import Agent
from harness.engine.allowance import Allowance, Spent
from harness.engine.state import Entry
from harness.policies.protocol import Policy


@dataclass(frozen=True, kw_only=True)
class MemberSettings:
    """`agent` and `policy` name what proposes and its version; `share` is how many proposals it makes beside
    the others' shares.
    """

    name: str
    agent: str
    policy: str
    share: int = 1
    allowance: Allowance = field(default_factory=Allowance)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> MemberSettings:
        """The inverse of `to_json`. Raises KeyError or TypeError for anything else."""
        return cls(**{**data, "allowance": Allowance(**data["allowance"])})


@dataclass(frozen=True, kw_only=True)
class Member:
    """An agent under a policy."""

    agent: Agent
    policy: Policy
    name: str = "agent"
    share: int = 1
    allowance: Allowance = field(default_factory=Allowance)

    @property
    def settings(self) -> MemberSettings:
        return MemberSettings(
            name=self.name,
            agent=f"{self.agent.name}/{self.agent.version}",
            policy=f"{self.policy.name}/{self.policy.version}",
            share=self.share,
            allowance=self.allowance,
        )


def deal(members: Sequence[Member], made: Mapping[str, int], count: int) -> tuple[Member, ...]:
    """Who makes each of the next `count` proposals, so that all have made their share (D'Hondt's rule): the
    one with the largest share per proposal, the earlier of two. `made` counts proposals so far by name.

    Nobody is dealt more proposals than it may make; the answer is shorter where that leaves nobody.
    """
    counts = dict(made)
    dealt: list[Member] = []
    while len(dealt) < count:
        able = [one for one in members if counts.get(one.name, 0) < (one.allowance.proposals or math.inf)]
        if not able:
            break
        following = max(able, key=lambda member: member.share / (counts.get(member.name, 0) + 1))
        counts[following.name] = counts.get(following.name, 0) + 1
        dealt.append(following)
    return tuple(dealt)


def with_allowance(members: Iterable[Member], entries: Sequence[Entry]) -> tuple[Member, ...]:
    """Those that may go on after these proposals."""
    return tuple(
        member
        for member in members
        if member.allowance.reached(Spent.by(e for e in entries if e.member == member.name)) is None
    )
