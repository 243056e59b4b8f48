"""What an agent is told and what it hands back: the one interface between proposing and judging."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from verify.findings import Finding

Status = Literal["admitted", "clean", "rejected", "duplicate", "pending"]
"""`clean` passed the quick depth; `pending` has no verdict yet (a proposal of the running round)."""


@dataclass(frozen=True, kw_only=True)
class Skeleton:
    """A released mechanism whose slots are free, e.g. `linear_state/v1/token_decay`.

    `slots` maps a slot to its functions in SPEC order; `source` is canonical text; `fingerprint` identifies
    it.
    """

    name: str
    source: str
    fingerprint: str
    slots: Mapping[str, tuple[str, ...]]

    @property
    def family(self) -> str:
        return self.name.split("/", 1)[0]

    @property
    def short_name(self) -> str:
        return self.name.rsplit("/", 1)[-1]


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is searched: the skeletons of one or more families, and the root seed of every choice."""

    skeletons: tuple[Skeleton, ...]
    seed: int

    def skeleton(self, name: str) -> Skeleton:
        """The skeleton of that name. Raises ValueError naming those there are."""
        for skeleton in self.skeletons:
            if skeleton.name == name:
                return skeleton
        raise ValueError(f"expected one of {[s.name for s in self.skeletons]}, got {name!r}")


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """One mechanism, and how it came about.

    `slots` describes each slot's contents for readers, `slug` names the folder; `note` is the agent's own
    record (JSON), given back to it as evidence; `parent` is the position of the proposal it grew from;
    `tokens` counts those a language model read and wrote.
    """

    source: str
    skeleton: str
    operator: str
    slug: str
    slots: Mapping[str, str]
    note: str
    parent: int | None = None
    tokens: int = 0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A proposal and what the judge said of it. `rules` are the ids of its findings, sorted, without
    repeats.
    """

    position: int
    proposal: Proposal
    fingerprint: str
    status: Status
    findings: tuple[Finding, ...] = ()

    @property
    def rules(self) -> tuple[str, ...]:
        return tuple(sorted({finding.rule for finding in self.findings}))


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Everything an agent may know when it makes proposal number `position`.

    `outcomes` are those of finished rounds in proposal order; `known` holds the fingerprints of all
    proposals so far, this round's included, and of the skeletons.
    """

    position: int
    outcomes: tuple[Outcome, ...] = ()
    known: frozenset[str] = field(default_factory=frozenset)


class Agent(Protocol):
    """Proposes mechanisms. The same arguments give the same proposal: an agent keeps nothing between
    calls.
    """

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> int:
        """Goes up when the same arguments would give another proposal, so that old runs are not resumed by
        it.
        """
        ...

    def propose(self, task: Task, parent: Outcome | None, evidence: Evidence) -> Proposal:
        """A mechanism: grown from `parent`, or drafted afresh where it is None."""
        ...
