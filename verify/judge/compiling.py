"""CMP: the default tuning compiles for real devices and fits them, without one.

bfloat16 at head sizes 64 and 128 for every target, float32 at 64 for sm_90. Compiling happens in workers of
their own profile; here the reports become findings. A finding says what is over which limit, and what another
number of stages or warps was seen to do; that is the same again from the same source, so it may stand in a
verdict. All that depends on the compiler's mood without being over a limit (registers, occupancy, the census,
time) stays in `measured`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from verify.findings import Finding
from verify.judge.cases import Case, usual_sizes
from verify.judge.compile_pool import Answer, CompilePool, Unit
from verify.judge.contract_checks import dense_request
from verify.judge.session import Session
from verify.plan.specialise import Specialised, specialise
from verify.sandbox.client import Limits, Server
from verify.source.contract import Spec
from verify.triton_cpu.compiler.fitting import SPILL_LIMIT_BYTES
from verify.triton_cpu.compiler.report import CompileReport
from verify.triton_cpu.compiler.targets import TARGETS, Limit, Target

COMPILE_SECONDS = 240.0
"""Wall seconds for the kernels of one job together, and as many for other configurations of them."""
ADVISED = 8
"""Kernels of one job for which other configurations are tried, where they do not fit."""

_LIMIT_RULES: dict[Limit, str] = {
    "shared": "CMP-SHARED",
    "threads": "CMP-THREADS",
    "tensor": "CMP-TENSOR-MEMORY",
}


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One shape to compile: the run's dtype and the size of a head."""

    dtype: str
    head: int

    @property
    def label(self) -> str:
        return f"{self.dtype}, head size {self.head}"


STAGE_SHAPES: tuple[tuple[Shape, tuple[Target, ...]], ...] = (
    (Shape(dtype="bfloat16", head=64), TARGETS),
    (Shape(dtype="bfloat16", head=128), TARGETS),
    (Shape(dtype="float32", head=64), ("sm_90",)),
)
"""What the stage asks for."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One shape's kernels for one target."""

    shape: Shape
    target: Target
    kernels: tuple[Specialised, ...]

    @property
    def label(self) -> str:
        return f"{self.target}, {self.shape.label}"

    def units(self, source: bytes, *, census: bool = False) -> list[Unit]:
        """What a pool compiles for this job."""
        return [
            Unit(
                source=source,
                group=self.label,
                index=index,
                launch=one.specialisation,
                target=self.target,
                census=census,
                advice=index < ADVISED,
                spill_limit=None if self.shape.dtype == "float32" else SPILL_LIMIT_BYTES,
            )
            for index, one in enumerate(self.kernels)
        ]


def compile_case(spec: Spec, dtype: str, head: int) -> Case:
    """A shape that real models use: every size a multiple of 16, as compiled code specialises on it."""
    chosen = {"B": 2, "T": 256, "H": 4, "K": head, "V": head, "D": head}
    return Case(sizes=usual_sizes(spec, chosen), dtype=dtype)


def shape_kernels(session: Session, shape: Shape) -> tuple[Specialised, ...]:
    """The kernels that forward and backward launch at a shape. Raises Rejected where that is not traced."""
    case = compile_case(session.mechanism.spec, shape.dtype, shape.head)
    plan = session.trace(dense_request(session.mechanism, case), case.label)
    return tuple(specialise(plan.launches))


class Compilation:
    """The stage's jobs in the background: one worker of profile `compile` beside the runs, two once those are
    done.
    """

    def __init__(self, server: Server, session: Session, limits: Limits) -> None:
        """Trace every plan, then start compiling. Raises Rejected where a wrapper cannot be traced."""
        self._source = session.mechanism.source.encode()
        traced = [(shape, targets, shape_kernels(session, shape)) for shape, targets in STAGE_SHAPES]
        self._jobs = [
            Job(shape=shape, target=target, kernels=kernels)
            for shape, targets, kernels in traced
            for target in targets
        ]
        self._pool = CompilePool(server, limits, seconds=COMPILE_SECONDS)
        for job in self._jobs:
            self._pool.add(job.units(self._source))
        self._pool.start()

    def result(self) -> tuple[list[Finding], list[dict[str, Any]]]:
        """Wait for every job: the findings, and the reports for `measured/`, in the order of the jobs."""
        answers = self._pool.result(workers=2)
        findings, reports = [], []
        for job in self._jobs:
            for unit, one in zip(job.units(self._source), job.kernels, strict=True):
                answer = answers[unit]
                findings += check_answer(job, one, answer)
                if isinstance(answer, CompileReport):
                    reports.append(row(job, one, answer, seconds=True))
        return findings, reports

    def close(self) -> None:
        """Stop compiling, finished or not."""
        self._pool.close()


def row(job: Job, one: Specialised, report: CompileReport, *, seconds: bool) -> dict[str, Any]:
    """A report as documents hold it; `seconds` is the one field that is not the same again."""
    placed = report.placed(line=one.line, launches=one.launches)
    return {"dtype": job.shape.dtype, "head": job.shape.head, **placed.shown(seconds=seconds)}


def check_answer(job: Job, one: Specialised, answer: Answer) -> list[Finding]:
    """What the stage has to say about one kernel on one target."""
    kernel = one.specialisation.kernel
    if isinstance(answer, CompileReport):
        report = answer.placed(line=one.line, launches=one.launches)
        bfloat16 = job.shape.dtype != "float32"
        return report_findings(report, where=job.label, spills=bfloat16, ieee=True)
    if answer.kind == "timeout":
        # No kernel's name: which one was late is the machine's doing, not the mechanism's.
        late = f"the compiler ended without an answer: {answer.detail}. Use smaller tiles and fewer unrolled "
        return [Finding(rule="ADM-TIMEOUT", message=f"{late}loops, or a machine that is less busy")]
    ended = f"{kernel}: the compiler ended without an answer: {answer.detail}; expected it to return"
    return [Finding(rule="CMP-FAILED", where=job.label, line=one.line, message=ended)]


def report_findings(report: CompileReport, *, where: str, spills: bool, ieee: bool) -> list[Finding]:
    """What is wrong with a report, at its line: limits, and, where they count, spills and float32 dots that
    are not IEEE.
    """

    def finding(rule: str, message: str) -> Finding:
        text = f"{report.kernel}: {message}"
        return Finding(rule=rule, where=where, line=report.line or None, message=text)

    if report.error is not None:
        return [finding("CMP-ERROR", f"expected it to compile, got {report.error}")]
    tried = f"Tried: {report.advice.text}." if report.advice is not None else ""
    limit_hint = tried or "Use smaller tiles or fewer stages in the default tuning."
    findings = [
        finding(_LIMIT_RULES[limit], f"{needs}. {limit_hint}") for limit, needs in report.exceeded.items()
    ]
    if spills and report.spill_bytes > SPILL_LIMIT_BYTES:
        spill_hint = tried if tried and not findings else "Use smaller tiles or more warps by default."
        findings.append(
            finding(
                "CMP-SPILL",
                f"spills {report.spill_bytes:,} B of registers a thread; expected at most "
                f"{SPILL_LIMIT_BYTES}. {spill_hint}",
            )
        )
    if ieee and report.dot_precision - {"ieee"}:
        named = ", ".join(sorted(report.dot_precision))
        wanted = f'tl.dot on float32 compiles to {named}; expected input_precision="ieee"'
        findings.append(finding("CMP-DOT-PRECISION", wanted))
    return findings
