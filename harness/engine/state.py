"""What has happened in a run, as a replay of its events: the only state there is."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from harness.agents.protocol import Outcome, Proposal, Status
from harness.engine.numbers import told_numbers
from harness.engine.pool import Judged
from harness.errors import HarnessError
from harness.store import Event, Store
from verify.findings import Finding
from verify.judge.behaviour import same_behaviour
from verify.judge.case_text import case_elements
from verify.judge.verdict import Verdict

_DAMAGE = (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError)
"""What reading an event may raise that was not written by this version."""


@dataclass(kw_only=True)
class Entry:
    """One proposal and what became of it. `same_as` is the position of the earlier proposal with the same
    text; `counterexamples` are the wrong numbers of its deepest verdict, in the order of their cases.
    `member` is the agent that made it. `numbers` are those that agents are told, `measured` all there are.
    `seconds` is the work that went by while it was proposed and judged, `cpu_seconds` what judging it took.
    """

    position: int
    proposal: Proposal
    fingerprint: str
    same_as: int | None
    member: str = "agent"
    quick: Verdict | None = None
    full: Verdict | None = None
    behaves_like: int | None = None
    cpu_seconds: float = 0.0
    seconds: float = 0.0
    score: float | None = None
    scored: bool = False
    numbers: dict[str, float] = field(default_factory=dict)
    measured: dict[str, Any] = field(default_factory=dict)
    counterexamples: tuple[dict[str, Any], ...] = ()

    @property
    def duplicate(self) -> bool:
        return self.same_as is not None or self.behaves_like is not None

    @property
    def for_the_judge(self) -> bool:
        """Is it a mechanism, and one that was not proposed before?"""
        return self.same_as is None and not self.proposal.problem

    @property
    def verdict(self) -> Verdict | None:
        """The deepest verdict there is."""
        return self.full or self.quick

    @property
    def findings(self) -> tuple[Finding, ...]:
        return () if self.verdict is None else self.verdict.findings

    @property
    def status(self) -> Status:
        if self.proposal.problem:
            return "unusable"
        if self.duplicate:
            return "duplicate"
        if self.verdict is None:
            return "pending"
        if self.verdict.admission == "rejected":
            return "rejected"
        return "admitted" if self.full is not None and self.full.admission == "admitted" else "clean"

    def outcome(self) -> Outcome:
        return Outcome(
            position=self.position,
            proposal=self.proposal,
            fingerprint=self.fingerprint,
            status=self.status,
            findings=self.findings if self.status == "rejected" else (),
            counterexample=smallest_counterexample(self) if self.status == "rejected" else None,
            numbers=self.numbers if self.status in ("clean", "admitted") else {},
            score=self.score,
        )


class RunState:
    """The entries of a run in proposal order; by round, who took part in it and which entries were selected
    for the full depth.
    """

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.begun: dict[int, frozenset[str]] = {}
        self.selected: dict[int, tuple[int, ...]] = {}
        self._texts: dict[str, int] = {}

    @classmethod
    def replay(cls, store: Store) -> RunState:
        """The state that the store's events tell. Raises HarnessError where they tell of no run."""
        state = cls()
        for event in store.events():
            try:
                state.apply(event, store)
            except _DAMAGE as error:
                raise HarnessError(
                    f"{store.path}: expected a design run, got an event {event.seq} ({event.kind}) that "
                    f"tells of none ({type(error).__name__}: {error}). The file was damaged, or written by "
                    "another version: move it away and run again."
                ) from None
        return state

    def apply(self, event: Event, store: Store) -> None:
        """Take in one event; kinds that say nothing about the state are passed over."""
        body = event.body
        match event.kind:
            case "proposed":
                source = store.source(body["source"]).decode()
                self._add(Proposal(**body["proposal"], source=source), body)
                self.entries[body["position"]].seconds += event.clock
            case "begun":
                self.begun[body["round"]] = frozenset(body["members"])
            case "selected":
                self.selected[body["round"]] = tuple(body["positions"])
            case "judged":
                self._judge(body, event.cost)
                self.entries[body["position"]].seconds += event.clock
            case "scored":
                entry = self.entries[body["position"]]
                entry.score = None if body["score"] is None else float(body["score"])
                entry.scored = True
                entry.seconds += event.clock

    def with_status(self, *statuses: Status) -> list[Entry]:
        return [entry for entry in self.entries if entry.status in statuses]

    def admitted_by(self, number: int) -> int:
        """How many were admitted by the end of round `number`, also when later rounds are known already."""
        return len(self.admitted_entries(number))

    def admitted_entries(self, number: int) -> list[Entry]:
        """Those admitted by the end of round `number`, by position."""
        positions = {position for r, chosen in self.selected.items() if r <= number for position in chosen}
        return [e for p in sorted(positions) if (e := self.entries[p]).status == "admitted"]

    def known_texts(self) -> frozenset[str]:
        return frozenset(self._texts)

    def outcomes(self, before: int, member: str) -> tuple[Outcome, ...]:
        """The outcomes of a member's proposals before position `before`, in order."""
        return tuple(entry.outcome() for entry in self.entries[:before] if entry.member == member)

    def _add(self, proposal: Proposal, body: dict[str, Any]) -> None:
        position, fingerprint = body["position"], body["fingerprint"]
        if position != len(self.entries):
            raise ValueError(f"expected proposal {len(self.entries)} next, got {position}")
        same_as = self._texts.setdefault(fingerprint, position)
        self.entries.append(
            Entry(
                position=position,
                proposal=proposal,
                fingerprint=fingerprint,
                same_as=None if same_as == position else same_as,
                member=body["member"],
            )
        )

    def _judge(self, body: dict[str, Any], cost: dict[str, Any]) -> None:
        entry = self.entries[body["position"]]
        verdict = Verdict.from_bytes(json.dumps(body["verdict"]).encode())
        entry.cpu_seconds += cost["cpu_seconds"]
        entry.counterexamples = tuple(_numbers(example) for example in body["counterexamples"])
        if verdict.depth == "full":
            entry.full, entry.measured, entry.numbers = verdict, cost["measured"], body["numbers"]
        else:
            entry.quick = verdict
        self._find_twins()

    def _find_twins(self) -> None:
        """Mark admitted candidates that compute what an earlier admitted one of the same skeleton computes.

        Earlier means: selected in an earlier round, or before it in the same one; never: judged faster.
        """
        first: list[tuple[Verdict, int]] = []
        for entry in self.selected_entries():
            if entry.full is None or entry.full.admission != "admitted":
                continue
            twins = [position for verdict, position in first if are_twins(verdict, entry.full)]
            entry.behaves_like = twins[0] if twins else None
            if not twins:
                first.append((entry.full, entry.position))

    def selected_entries(self) -> list[Entry]:
        """The entries selected for the full depth, in the order of selection."""
        order = (position for number in sorted(self.selected) for position in self.selected[number])
        return [self.entries[position] for position in order]


def are_twins(first: Verdict, second: Verdict) -> bool:
    """Do two admitted mechanisms compute the same?"""
    if first.behaviour is None or second.behaviour is None:
        return False
    return same_behaviour(first.behaviour, second.behaviour)


def proposed_body(position: int, fingerprint: str, proposal: Proposal, member: str) -> dict[str, Any]:
    """The body of a `proposed` event; the source itself and what was said go to the content-addressed table,
    and the event has the SHA-256 of each.
    """
    fields = asdict(proposal)
    del fields["source"], fields["conversation"]
    fields["slots"] = dict(proposal.slots)
    said = [[role, hashlib.sha256(text.encode()).hexdigest()] for role, text in proposal.conversation]
    return {
        "position": position,
        "fingerprint": fingerprint,
        "proposal": fields,
        "member": member,
        "conversation": said,
    }


def judged_body(position: int, judged: Judged) -> dict[str, Any]:
    """The body of a `judged` event: what the same judge says again on the same machine."""
    return {
        "position": position,
        "verdict": judged.verdict.to_json(),
        "numbers": told_numbers(judged.measured) if judged.verdict.admission == "admitted" else {},
        "counterexamples": _storable(judged.measured.get("counterexamples", [])),
    }


def judged_cost(judged: Judged) -> dict[str, Any]:
    """What a `judged` event took and measured, which no two runs have in common."""
    return {"measured": _storable(judged.measured), "cpu_seconds": judged.cpu_seconds}


def smallest_counterexample(entry: Entry) -> dict[str, Any] | None:
    """Of the counterexamples that the judge came across, the one whose case has the fewest elements."""
    return min(entry.counterexamples, key=lambda example: case_elements(example["case"]), default=None)


def _storable(value: Any) -> Any:
    """The same with infinities and NaN, which a wrong kernel may well compute, as text: JSON has neither."""
    if isinstance(value, Mapping):
        return {name: _storable(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _numbers(example: Mapping[str, Any]) -> dict[str, Any]:
    """A counterexample whose numbers are numbers again."""
    return {**example, **{name: float(example[name]) for name in ("expected", "got", "ratio")}}


def tally(entries: Sequence[Entry]) -> dict[str, int]:
    """Rejected candidates by rule id: each counts once for every rule it broke."""
    counts: dict[str, int] = {}
    for entry in entries:
        if entry.status == "rejected":
            for rule in entry.outcome().rules:
                counts[rule] = counts.get(rule, 0) + 1
    return dict(sorted(counts.items()))


def cpu_seconds(entries: Iterable[Entry]) -> float:
    """What judging them took, in seconds of CPU time."""
    return round(sum(entry.cpu_seconds for entry in entries), 1)
