"""What the gate found, as data: the one thing that every form of output is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from verify.findings import STAGES, Finding
from verify.gate.changes import Change, Kind
from verify.gate.words import one_line

ADMITTED, REJECTED, INFRASTRUCTURE, SKIPPED, NOTHING = 0, 1, 3, 4, 5
"""The exit codes of the README that a report can end with."""


@dataclass(frozen=True, kw_only=True)
class Located:
    """A finding, the file it is about (relative to the checkout), and who says so."""

    path: str
    finding: Finding
    by: str = "gate"

    def sort_key(self) -> tuple[Any, ...]:
        return (self.path, *self.finding.sort_key(), self.by)

    def render(self) -> str:
        """`path:line:col RULE message [where] (by)`, on one line whatever the message holds."""
        by = "" if self.by == "gate" else f" ({self.by})"
        return one_line(self.finding.render(self.path) + by)

    def to_json(self) -> dict[str, Any]:
        return {"path": one_line(self.path), "by": self.by, **self.finding.to_json()}


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One judge's answer about one file, read from what `check --json` wrote.

    `verdict` has the fields of verdict.json; `counterexamples` are lines to read.
    """

    path: str
    verdict: Mapping[str, Any]
    findings: tuple[Finding, ...]
    counterexamples: tuple[str, ...]

    @property
    def admission(self) -> str:
        return str(self.verdict["admission"])

    @property
    def stages(self) -> dict[str, str]:
        found = self.verdict["stages"]
        return {stage: found[stage] for stage in STAGES if stage in found}

    @property
    def timed_out(self) -> bool:
        return any(finding.rule == "ADM-TIMEOUT" for finding in self.findings)


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything about one candidate folder or skeleton.

    `stages` and `admission` are those of the judge whose word counts (None where none was asked); `fresh` the
    stages under the freshly drawn plan. `skipped` names a stage that nobody could decide here.
    """

    path: str
    kind: Kind
    change: Change
    findings: tuple[Located, ...]
    admission: str | None = None
    stages: Mapping[str, str] = field(default_factory=dict)
    fresh: Mapping[str, str] = field(default_factory=dict)
    counterexamples: tuple[str, ...] = ()
    diff: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    timed_out: bool = False
    skipped: bool = False

    @property
    def exit_code(self) -> int:
        if self.timed_out:
            return INFRASTRUCTURE
        if self.findings:
            return REJECTED
        return SKIPPED if self.skipped else ADMITTED

    @property
    def word(self) -> str:
        """One word for people."""
        return {ADMITTED: "ok", REJECTED: "refused", INFRASTRUCTURE: "timed out", SKIPPED: "skipped"}[
            self.exit_code
        ]

    def to_json(self) -> dict[str, Any]:
        return {
            "path": one_line(self.path),
            "kind": self.kind,
            "change": self.change,
            "result": self.word,
            "admission": self.admission,
            "stages": dict(self.stages),
            "fresh_stages": dict(self.fresh),
            "findings": [located.to_json() for located in self.findings],
            "counterexamples": list(self.counterexamples),
            "diff": list(self.diff),
            "notes": list(self.notes),
        }


@dataclass(frozen=True, kw_only=True)
class GateReport:
    """The gate's answer on a checkout. `plan_seed` is the root seed of the fresh plan; `notes` concern
    the run.
    """

    base: str
    merge_base: str
    plan_seed: int
    judges: tuple[str, ...]
    reports: tuple[Report, ...]
    strays: tuple[Located, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def findings(self) -> tuple[Located, ...]:
        """Every finding, of every candidate, in order."""
        return (*self.strays, *(located for report in self.reports for located in report.findings))

    @property
    def exit_code(self) -> int:
        codes = [report.exit_code for report in self.reports] + [REJECTED] * bool(self.strays)
        if not codes:
            return NOTHING
        return next((code for code in (INFRASTRUCTURE, REJECTED, SKIPPED) if code in codes), ADMITTED)

    @property
    def sentence(self) -> str:
        """What happened and what to do next."""
        if self.exit_code == NOTHING:
            return f"nothing to check: no candidate, skeleton or rule changed since {self.base}."
        good = sum(1 for report in self.reports if report.exit_code == ADMITTED)
        counted = f"{good} of {len(self.reports)} passed the gate against {self.base}"
        advice = {
            ADMITTED: "Review the slots.",
            REJECTED: "`python -m verify explain RULE` says what a rule asks for.",
            SKIPPED: "A required stage was skipped, which is not a pass: use the pinned Triton.",
            INFRASTRUCTURE: "The machine gave up before the judge could say anything: run it again.",
        }[self.exit_code]
        return f"{counted}. {advice}"

    def to_json(self) -> dict[str, Any]:
        return {
            "base": self.base,
            "merge_base": self.merge_base,
            "plan_seed": self.plan_seed,
            "judges": list(self.judges),
            "notes": list(self.notes),
            "exit_code": self.exit_code,
            "summary": self.sentence,
            "strays": [located.to_json() for located in self.strays],
            "subjects": [report.to_json() for report in self.reports],
        }
