"""An agent that proposes texts from a list and writes down what it was told, and the settings of its runs."""

from __future__ import annotations

from collections.abc import Sequence

from harness.agents.protocol import Agent, Evidence, Outcome, Proposal, Skeleton, Task
from harness.engine.members import Member, MemberSettings
from harness.engine.settings import Depth, Settings
from harness.policies.by_status import ByStatus
from harness.policies.protocol import Policy

SKELETON = Skeleton(name="linear_state/v1/ungated", source="x = 0\n", fingerprint="none", slots={})
TASK = Task(skeletons=(SKELETON,), seed=0)


class ScriptedAgent:
    """Proposal n says `<word n> = n`, or the text of an earlier one where the word is a number."""

    name = "scripted"
    version = 1

    def __init__(self, words: Sequence[str]) -> None:
        self.words = list(words)
        self.told: list[tuple[int, tuple[str, ...]]] = []

    def propose(self, task: Task, parent: Outcome | None, evidence: Evidence) -> Proposal:
        self.told.append((evidence.position, tuple(outcome.status for outcome in evidence.outcomes)))
        return Proposal(
            source=self.text(evidence.position),
            skeleton=SKELETON.name,
            operator="draft",
            slug=f"ungated-{evidence.position}",
            slots={"feature_map": self.words[evidence.position]},
            note="",
            parent=None if parent is None else parent.position,
        )

    def text(self, position: int) -> str:
        word = self.words[position]
        if word.isdigit():
            return self.text(int(word))
        return f"def reference():\n    {word} = {position}\n    return {word}\n"


def alone(agent: Agent, policy: Policy | None = None) -> tuple[Member, ...]:
    """The one agent of a run."""
    return (Member(agent=agent, policy=policy or ByStatus()),)


def settings(words: Sequence[str], *, admit: int = 20, depth: Depth = "full", seed: int = 0) -> Settings:
    return Settings(
        family="linear_state",
        budget=len(words),
        admit=admit,
        seed=seed,
        depth=depth,
        members=(MemberSettings(name="agent", agent="scripted/1", policy="by-status/1"),),
        rules="1",
        skeletons=((SKELETON.name, SKELETON.fingerprint),),
        objective="lines/1",
        width=4,
    )
