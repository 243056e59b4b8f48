"""The judge: every stage in order, cheap to dear, for one source at one depth."""

from __future__ import annotations

import hashlib
import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from verify.device.attach import LIMITS as DEVICE_LIMITS
from verify.device.attach import Device
from verify.device.bench import measure
from verify.device.memcheck import check_memory
from verify.errors import InfrastructureError
from verify.findings import Finding, Status, in_order
from verify.judge import throughput
from verify.judge.behaviour import behaviour
from verify.judge.cases import SHAPES, Group, enumerate_groups
from verify.judge.compiling import COMPILE_SECONDS, Compilation
from verify.judge.differences import check_gradients
from verify.judge.properties import check_properties
from verify.judge.repeats import check_repeats
from verify.judge.runs import POISONS, Outcome, finish, start
from verify.judge.session import Rejected, Session
from verify.judge.substance import check_known, check_substance
from verify.judge.verdict import (
    EVIDENCE,
    FULL_ISOLATION,
    REQUIRED,
    TRITON_PIN,
    Depth,
    Verdict,
    installed_triton,
    shown_on,
)
from verify.rules import RULES_VERSION
from verify.sandbox.client import Limits, Server
from verify.seeds import derive
from verify.source.static import Mechanism, check_static

WORKER_LIMITS = Limits(memory_bytes=6 << 30, seconds=300.0)
COMPILE_LIMITS = Limits(memory_bytes=8 << 30, seconds=COMPILE_SECONDS)


def environment() -> dict[str, Any]:
    """Where the noisy numbers were measured."""
    return {
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "numpy": np.__version__,
        "python": platform.python_version(),
        "system": platform.system(),
        "torch": _installed("torch"),
        "triton": _installed("triton"),
    }


def _installed(package: str) -> str | None:
    """A package's version; None where it is not there, as on a machine that only runs the static half."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


class IsolationError(InfrastructureError):
    """The machine cannot confine hostile code fully, and nobody said that this is acceptable."""


def verdict_seed(source_hash: str, root: int = 0) -> int:
    """The seed of every case and input of a verdict; another `root` draws another plan."""
    return derive(root, "verdict", RULES_VERSION, source_hash)


@dataclass(kw_only=True)
class _Record:
    """What the stages have said so far about one source."""

    depth: Depth
    stages: dict[str, Status]
    findings: list[Finding] = field(default_factory=list)
    properties: dict[str, Status] = field(default_factory=dict)
    behaviour: str | None = None
    evidence: Mapping[str, str] = field(default_factory=lambda: EVIDENCE)
    measured: dict[str, Any] = field(default_factory=lambda: {"seconds": {}, "environment": environment()})
    redrawn: bool = False

    def blame(self, findings: Sequence[Finding]) -> None:
        self.findings += findings
        for finding in findings:
            self.stages[finding.stage] = "fail"

    def passed(self, *stages: str) -> None:
        for stage in stages:
            if self.stages.get(stage) != "fail":
                self.stages[stage] = "pass"

    def spent(self, what: str, since: float) -> None:
        seconds = self.measured["seconds"]
        seconds[what] = seconds.get(what, 0.0) + time.monotonic() - since


class Judge:
    """Judges sources with one warm server. Not for use from several threads at once.

    `server` may be None for depth `static`. With `require_isolation`, a machine without Landlock and seccomp
    raises IsolationError instead of judging. With `device`, kernels run there and THR is measured.
    """

    def __init__(
        self, server: Server | None, *, require_isolation: bool = True, device: Device | None = None
    ) -> None:
        self.server, self._require, self._device = server, require_isolation, device

    def check(
        self,
        source: bytes,
        *,
        path: str,
        depth: Depth,
        require_canonical: bool = False,
        root_seed: int = 0,
    ) -> Verdict:
        """The verdict on one source. Depth `full` is the only one that admits.

        A `root_seed` other than 0 draws another plan of cases. CMP and THR do not depend on the plan and are
        left out, so what comes back can reject but never admit: it is a second look, not a verdict to keep.

        Raises IsolationError, `SandboxError` or `JudgeBroken` where the judge, not the candidate, is at
        fault.
        """
        began = time.monotonic()
        static = check_static(source, path=path, require_canonical=require_canonical)
        record = _Record(depth=depth, stages=dict(static.stages), redrawn=root_seed != 0)
        record.blame(static.findings)
        record.spent("static", began)
        mechanism = static.mechanism
        digest = mechanism.source_hash if mechanism else hashlib.sha256(source).hexdigest()
        seed = verdict_seed(digest, root_seed)
        if mechanism is None or depth == "static":
            return _verdict(record, digest, mechanism, seed, isolation="not needed")
        assert self.server is not None, "depths quick and full need a server"
        isolation = self.server.isolation
        if self._require and isolation != FULL_ISOLATION:
            raise IsolationError(
                f"expected {FULL_ISOLATION} on this machine, got {isolation}; pass "
                "--allow-weak-isolation only for sources you trust"
            )
        device = self._device
        if device is not None:
            isolation = f"{isolation}; on the device {device.isolation}"
            record.evidence = shown_on(device.name)
            record.measured["environment"]["device"] = dict(device.described)
        limits = WORKER_LIMITS if device is None else DEVICE_LIMITS
        runs_on = None if device is None else device.server
        with Session(self.server, mechanism, limits, device=runs_on) as session:
            _dynamic(self.server, session, record, seed, device)
        return _verdict(record, digest, mechanism, seed, isolation=isolation)


def _dynamic(server: Server, session: Session, record: _Record, seed: int, device: Device | None) -> None:
    """CON on plans, NUM, GRD, MEM, then CMP and THR at full depth."""
    mechanism = session.mechanism
    groups = enumerate_groups(mechanism.spec, mechanism.tuning, seed=seed, depth=_case_depth(record.depth))
    try:
        last = record.depth == "full" and not record.redrawn
        # CMP speaks about one compiler; under another it is skipped, which is not passed.
        compiles = last and installed_triton() == TRITON_PIN
        compilation = Compilation(server, session, COMPILE_LIMITS) if compiles else None
    except Rejected as rejected:
        record.blame([rejected.finding])
        return
    try:
        record.measured["cases"] = _run_groups(session, groups, seed, record)
        sanitizer = device is not None and device.described["sanitizer"] and record.depth == "full"
        if sanitizer and not record.findings:
            found, record.measured["memcheck"] = check_memory(session, groups[0].cases[-1], seed)
            record.blame(found)
        if not record.findings:
            record.passed("CON", "NUM", "GRD", "MEM")
            _ask_properties(session, record, seed)
        if not record.findings:
            _ask_substance(server, session, record, seed)
        if not record.findings and compilation is not None:
            _compile_stage(compilation, record)
        if last and not any(one.stage != "CMP" for one in record.findings):
            _time_stage(session, record, seed, device)
        if not record.findings:
            record.blame(session.end())
    finally:
        if compilation is not None:
            compilation.close()


def _ask_properties(session: Session, record: _Record, seed: int) -> None:
    """PRP, for a mechanism whose numbers are right."""
    began = time.monotonic()
    try:
        found = check_properties(session, seed, depth=_case_depth(record.depth))
    except Rejected as rejected:
        record.blame([rejected.finding])
        return
    finally:
        record.spent("PRP", began)
    record.properties = found.statuses
    record.blame(found.findings)
    record.passed("PRP")


def _ask_substance(server: Server, session: Session, record: _Record, seed: int) -> None:
    """SUB; what is already known is looked up at full depth alone."""
    began = time.monotonic()
    try:
        findings = check_substance(session, seed, depth=_case_depth(record.depth))
        if record.depth == "full" and not findings:
            findings = check_known(server, session, WORKER_LIMITS)
            record.behaviour = behaviour(session)
    except Rejected as rejected:
        record.blame([rejected.finding])
        return
    finally:
        record.spent("SUB", began)
    record.blame(findings)
    record.passed("SUB")


def _compile_stage(compilation: Compilation, record: _Record) -> None:
    """CMP, for a mechanism whose numbers are right."""
    began = time.monotonic()
    findings, reports = compilation.result()
    record.spent("CMP (after the runs)", began)
    record.measured["compiler"] = reports
    record.blame(findings)
    record.passed("CMP")


def _time_stage(session: Session, record: _Record, seed: int, device: Device | None) -> None:
    """THR: measured on a device, else predicted."""
    began = time.monotonic()
    try:
        record.measured["throughput"] = throughput.estimate(session, seed)
        if device is not None:
            timed = measure(session, device, shapes=SHAPES, forms=("kernels",), seed=seed)
            record.measured["timed"] = timed.rows
            record.blame(timed.findings)
            if timed.refused:
                return
    except Rejected as rejected:
        record.blame([rejected.finding])
        return
    record.spent("THR", began)
    record.passed("THR")


def _case_depth(depth: Depth) -> Any:
    return "full" if depth == "full" else "quick"


def _run_groups(session: Session, groups: Sequence[Group], seed: int, record: _Record) -> int:
    """Group by group; a group with a finding is the last one. Returns how many cases were run."""
    count = 0
    ratios: dict[str, dict[str, float]] = {}
    examples: list[dict[str, Any]] = []
    for position, group in enumerate(groups):
        began = time.monotonic()
        if position == 1:
            record.blame(check_gradients(session, groups[0].cases[1], seed))
        found = _run_group(session, group, seed)
        for outcome in found:
            record.blame(outcome.findings)
            examples += outcome.examples
            row = ratios.setdefault(outcome.case.dtype, {})
            for name, ratio in outcome.ratios.items():
                row[name] = max(row.get(name, 0.0), ratio)
        count += len(found)
        record.spent(f"runs: {group.name}", began)
        if record.findings:
            break
    record.measured["error_over_tolerance"] = ratios
    record.measured["counterexamples"] = examples[:16]
    return count


def _run_group(session: Session, group: Group, seed: int) -> list[Outcome]:
    """Start every case, so that the workers stay busy, then collect them in order."""
    pending = [
        start(session, case, seed, poison=POISONS[index % 2]) for index, case in enumerate(group.cases)
    ]
    outcomes = [finish(session, item) for item in pending]
    if group.name == "smoke" and not any(outcome.findings for outcome in outcomes):
        outcomes[-1].findings += check_repeats(session, group.cases[-1], seed)
    return outcomes


def _verdict(
    record: _Record, digest: str, mechanism: Mechanism | None, seed: int, *, isolation: str
) -> Verdict:
    stages: dict[str, Status] = {stage: record.stages.get(stage, "skip") for stage in REQUIRED}
    timed_out = any(finding.rule == "ADM-TIMEOUT" for finding in record.findings)
    rejected = any(status == "fail" for status in stages.values()) and not timed_out
    # `n/a` is derived by the stage itself (a free mechanism has no skeleton to equal); it is not `skip`.
    complete = record.depth == "full" and all(stages[stage] in ("pass", "n/a") for stage in REQUIRED)
    stages["ADM"] = "fail" if rejected else "pass" if complete else "skip"
    return Verdict(
        source_hash=digest,
        skeleton=mechanism.skeleton if mechanism else None,
        depth=record.depth,
        admission="rejected" if rejected else "admitted" if complete else "incomplete",
        stages=stages,
        findings=in_order(record.findings),
        isolation=isolation,
        plan_seed=seed,
        properties=record.properties,
        behaviour=record.behaviour,
        measured=record.measured,
        evidence={
            stage: record.evidence[stage]
            for stage, status in stages.items()
            if status == "pass" and stage != "ADM"
        },
    )
