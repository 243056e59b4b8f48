"""The verdict on a foreign spec: one JSON document, the lines people read, and an exit code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from verify.exits import INFRASTRUCTURE, OK, REJECTED, SKIPPED, USAGE
from verify.findings import Status
from verify.foreign.notes import Note, absent, explained, statuses
from verify.foreign.process import Collected
from verify.foreign.spec import Deviation

Decision = Literal["pass", "known defects", "fail", "incomplete", "broken spec", "unavailable", "error"]
SHOWN = 16
EVIDENCE = {
    **dict.fromkeys(("CON", "NUM", "GRD", "PRP", "MEM"), "interpreter"),
    "CMP": "compiler",
    "THR": "model",
}
"""What showed each stage; THR says itself where a device was timed too."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What is said about one spec file. `problems` are texts about the spec or the machine, not the library.

    `pass`: every stage that applies; `known defects`: all that fails is explained by the spec's deviations;
    `fail`: something is not; `incomplete`: a stage could not be run; `broken spec`: the reference or the file
    is wrong; `unavailable`: something is not installed; `error`: a process died, or a defect of ours.
    """

    path: str
    decision: Decision
    stages: dict[str, Status] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()
    skipped: dict[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()
    described: dict[str, Any] = field(default_factory=dict)
    measured: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """`trust` is "vendor" always: the library's own Python met the data. Nothing is admitted by this."""
        return {
            "path": self.path,
            "trust": "vendor",
            "name": self.described.get("name"),
            "source": self.described.get("source"),
            "versions": self.described.get("versions", {}),
            "decision": self.decision,
            "evidence": {stage: EVIDENCE[stage] for stage, s in self.stages.items() if s in ("pass", "fail")},
            "stages": self.stages,
            "notes": [note.to_json() for note in self.notes],
            "skipped": self.skipped,
            "problems": list(self.problems),
            "stale_deviations": list(self.stale),
            "measured": self.measured,
        }

    def exit_code(self, *, accept_known: bool) -> int:
        """0 passed (or only known defects, where they are accepted), 1 a defect, 2 broken spec, 3, 4."""
        if self.decision == "known defects":
            return OK if accept_known else REJECTED
        codes = {"pass": OK, "fail": REJECTED, "incomplete": SKIPPED, "broken spec": USAGE}
        return codes.get(self.decision, INFRASTRUCTURE)

    def lines(self) -> list[str]:
        marks = "  ".join(f"{stage} {'FAIL' if s == 'fail' else s}" for stage, s in self.stages.items())
        lines = [f"{self.path}: {self.decision} (trust: vendor)", *([f"  {marks}"] if marks else [])]
        lines += [f"  {problem}" for problem in self.problems]
        lines += [f"  {stage} skipped: {reason}" for stage, reason in self.skipped.items()]
        groups = grouped(self.notes)
        lines += [f"  {line}" for group in groups[:SHOWN] for line in group_lines(group)]
        if len(groups) > SHOWN:
            lines.append(f"  ... and {len(groups) - SHOWN} more kinds of findings; --json has them all")
        return lines + [f"  no longer seen: {text}" for text in self.stale]


def grouped(notes: Sequence[Note]) -> list[list[Note]]:
    """Notes of one cause together: one explanation, or the same rule about the same result or place."""
    found: dict[tuple[str, ...], list[Note]] = {}
    for note in notes:
        subject = note.message.split(":", 1)[0].split("[", 1)[0] if note.kind is None else note.why
        found.setdefault((note.rule, note.kind or "", subject), []).append(note)
    return list(found.values())


def group_lines(group: Sequence[Note]) -> list[str]:
    """The first note of a group, how many there are, and the explanation if there is one."""
    first, more = group[0], len(group) - 1
    case = f" [{first.case}{f', and {more} more' if more else ''}]" if first.case else ""
    lines = [f"{first.rule} {first.message}{case}"]
    return lines if first.kind is None else [*lines, f"    {first.kind}: {first.why} ({first.where})"]


def verdict_of(path: str, found: Collected, *, depth: str) -> Verdict:
    """Decide about what was collected."""
    if found.unavailable is not None:
        return Verdict(path=path, decision="unavailable", problems=(found.unavailable,))
    deviations = [Deviation(**fields) for fields in found.described.get("deviations", [])]
    raw = [Note.from_json(fields) for event in found.done for fields in event["notes"]]
    notes = tuple(explained(raw, deviations))
    shown = [stage for event in found.done for stage in event["shown"]]
    skipped = {stage: reason for event in found.done for stage, reason in event["skipped"].items()}
    problems = [*found.broken, *(f"{label}: {how}" for label, how in found.dead.items())]
    if found.bug is not None:
        problems.append(f"a defect of the judge, not a statement about the library: {found.bug}")
    stages = statuses(notes, shown, skipped) if found.described else {}
    stale = [f"{one.rule} {one.case}: {one.why}" for one in absent(raw, deviations)]
    return Verdict(
        path=path,
        decision=_decide(found, notes, stages),
        stages=stages,
        notes=notes,
        skipped=dict(sorted(skipped.items())),
        problems=tuple(problems),
        stale=tuple(stale) if depth == "full" and not problems else (),
        described=found.described,
        measured=_measured(found),
    )


def _decide(found: Collected, notes: Sequence[Note], stages: dict[str, Status]) -> Decision:
    if found.bug is not None or found.dead:
        return "error"
    if found.broken:
        return "broken spec"
    failing = [note for note in notes if note.fails]
    if any(note.kind is None for note in failing):
        return "fail"
    if "skip" in stages.values():
        return "incomplete"
    return "known defects" if failing else "pass"


def _measured(found: Collected) -> dict[str, Any]:
    """Numbers that decide nothing further: the worst error / tolerance of each result, and what jobs gave."""
    worst: dict[str, float] = {}
    rows: dict[str, Any] = {}
    for event in found.done:
        for name, ratio in event["ratios"].items():
            worst[name] = max(worst.get(name, 0.0), ratio)
        if event["measured"]:
            rows[found.jobs[event["job"]]] = event["measured"]
    return {"ratios": {name: float(f"{ratio:.3g}") for name, ratio in sorted(worst.items())}, "jobs": rows}
