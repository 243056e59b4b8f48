"""What an agent is told and what it hands back: the one interface between proposing and judging."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from verify.findings import Finding

Status = Literal["admitted", "clean", "rejected", "duplicate", "pending", "unusable"]
"""`clean` passed the quick depth; `pending` has no verdict yet (a proposal of the running round);
`unusable` was an answer without a mechanism, which no judge was asked about.
"""

Operator = Literal["draft", "debug", "improve", "crossover", "simplify"]
"""The operators that every agent has; one may have others of its own."""


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
    record (JSON), given back to it as evidence; `parent` is the position of the proposal it grew from.
    `problem` says why there is no mechanism; `source` is empty then.

    `conversation` is what was said to a language model and by it, as (role, text) in turn; a proposal that is
    read back from a record has none. What the model took: `answers` it gave, `tokens` it read and wrote, and
    `usd`, as far as known; `uncounted` answers came without a number of tokens, `unpriced` ones have no known
    price.
    """

    source: str
    skeleton: str
    operator: str
    slug: str
    slots: Mapping[str, str]
    note: str
    parent: int | None = None
    problem: str = ""
    conversation: tuple[tuple[str, str], ...] = field(default=(), compare=False)
    answers: int = 0
    tokens: int = 0
    uncounted: int = 0
    usd: float = 0.0
    unpriced: int = 0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A proposal and what the judge said of it. `rules` are the ids of its findings, sorted, without
    repeats.

    `counterexample` is the smallest wrong case of a rejected one (`rule`, `result`, `case`, `index`,
    `expected`, `got`, `ratio`); `numbers` are those that the judge measured, by what they measure. `score` is
    the run's objective, the higher the better; None where nothing was scored.
    """

    position: int
    proposal: Proposal
    fingerprint: str
    status: Status
    findings: tuple[Finding, ...] = ()
    counterexample: Mapping[str, Any] | None = None
    numbers: Mapping[str, float] = field(default_factory=dict)
    score: float | None = None

    @property
    def rules(self) -> tuple[str, ...]:
        return tuple(sorted({finding.rule for finding in self.findings}))


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Everything an agent may know when it makes proposal number `position`.

    `outcomes` are those of finished rounds in proposal order; `known` holds the fingerprints of all
    proposals so far, this round's included, and of the skeletons.

    `operator` is the one that the policy asks for, None where the agent may choose; `mates` are the positions
    of the outcomes that a crossover may use beside its parent, None where it may use any.
    """

    position: int
    outcomes: tuple[Outcome, ...] = ()
    known: frozenset[str] = field(default_factory=frozenset)
    operator: Operator | None = None
    mates: tuple[int, ...] | None = None

    @property
    def partners(self) -> tuple[Outcome, ...]:
        """What a crossover may use: outcomes that passed, and that the policy lets meet."""
        return tuple(
            outcome
            for outcome in self.outcomes
            if outcome.status in ("admitted", "clean")
            and (self.mates is None or outcome.position in self.mates)
        )


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


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One proposal that a round wants: what `Agent.propose` will be called with."""

    parent: Outcome | None
    evidence: Evidence


@runtime_checkable
class RoundAgent(Agent, Protocol):
    """An agent that would rather work on all proposals of a round at once."""

    def prepare(self, task: Task, asks: Sequence[Ask]) -> None:
        """Work on what `propose` is about to be asked for, in this order. Proposals must be the same with
        and without it, so they may not depend on one another; `evidence.known` lacks this round's here.
        """
        ...


@runtime_checkable
class Cancellable(Protocol):
    """A round agent whose `prepare` may take long, and which somebody may not want to wait for."""

    def cancel(self) -> None:
        """Have `prepare` end at once, with whatever error, and every later one too. Called from another
        thread, maybe before `prepare` is.
        """
        ...
