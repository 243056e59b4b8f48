"""CMP: the default tuning compiles for real devices and fits them, without one.

bfloat16 at head sizes 64 and 128 for every target, float32 at 64 for sm_90. Compiling happens in a worker of
its own profile; here its reports become findings.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from verify.findings import Finding
from verify.judge.cases import Case, usual_sizes
from verify.judge.contract_checks import dense_request
from verify.judge.session import JudgeBroken, Session
from verify.judge.verdict import TARGETS
from verify.plan.format import Plan
from verify.sandbox.client import Limits, RemoteRefusal, Server, Worker, WorkerFailure
from verify.source.contract import Spec

COMPILE_SECONDS = 240.0
SPILL_LIMIT_BYTES = 512
"""Spilled bytes per thread above which a kernel is rejected in bfloat16; below it they are only reported."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One plan to compile for one target."""

    dtype: str
    head: int
    target: str
    plan: Plan

    @property
    def label(self) -> str:
        return f"{self.target}, {self.dtype}, head size {self.head}"


def compile_case(spec: Spec, dtype: str, head: int) -> Case:
    """A shape that real models use: every size a multiple of 16, as compiled code specialises on it."""
    chosen = {"B": 2, "T": 256, "H": 4, "K": head, "V": head, "D": head}
    return Case(sizes=usual_sizes(spec, chosen), dtype=dtype)


def plan_jobs(session: Session) -> list[Job]:
    """Every (plan, target) the stage compiles. Raises Rejected where a wrapper cannot be traced."""
    jobs = []
    for dtype, head, targets in (
        ("bfloat16", 64, TARGETS),
        ("bfloat16", 128, TARGETS),
        ("float32", 64, ("sm_90",)),
    ):
        case = compile_case(session.mechanism.spec, dtype, head)
        plan = session.trace(dense_request(session.mechanism, case), case.label)
        jobs += [Job(dtype=dtype, head=head, target=target, plan=plan) for target in targets]
    return jobs


class Compilation:
    """The stage's jobs in the background: one worker of profile `compile` beside the runs, two once those are
    done.
    """

    def __init__(self, server: Server, session: Session, limits: Limits) -> None:
        """Trace every plan, then start compiling. Raises Rejected where a wrapper cannot be traced."""
        self._server, self._limits, self._mechanism = server, limits, session.mechanism
        self._jobs = plan_jobs(session)
        self._waiting = deque(range(len(self._jobs)))
        self._answers: dict[int, tuple[list[Finding], list[dict[str, Any]]]] = {}
        self._workers: list[Worker] = []
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="compile")
        self._futures = [self._start()]

    def result(self) -> tuple[list[Finding], list[dict[str, Any]]]:
        """Wait for every job: the findings, and the reports for `measured/`, in the order of the jobs."""
        if self._waiting:
            self._futures.append(self._start())
        for future in self._futures:
            future.result()
        answers = [self._answers[index] for index in sorted(self._answers)]
        return [f for findings, _ in answers for f in findings], [
            r for _, reports in answers for r in reports
        ]

    def close(self) -> None:
        """Stop compiling, finished or not."""
        self._waiting.clear()
        for worker in self._workers:
            worker.kill()
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _start(self) -> Future[None]:
        worker = self._server.worker("compile", source=self._mechanism.source.encode(), limits=self._limits)
        self._workers.append(worker)
        return self._threads.submit(self._run, worker)

    def _run(self, worker: Worker) -> None:
        """Take jobs until none is left, or the worker fails, which is a finding of the job it had."""
        while self._waiting:
            try:
                index = self._waiting.popleft()
            except IndexError:  # the other worker took the last one
                return
            job = self._jobs[index]
            try:
                header, blobs = worker.call(
                    "compile",
                    {
                        "plan": job.plan.to_json(),
                        "kernels": list(self._mechanism.kernels),
                        "target": job.target,
                    },
                )
            except (RemoteRefusal, WorkerFailure) as error:
                rule = (
                    "ADM-TIMEOUT"
                    if isinstance(error, WorkerFailure) and error.kind == "timeout"
                    else "CMP-FAILED"
                )
                self._answers[index] = (
                    [
                        Finding(
                            rule=rule,
                            where=job.label,
                            message=f"the compiler ended without an answer: {error}; expected it to return",
                        )
                    ],
                    [],
                )
                return
            if blobs or set(header) != {"reports"}:
                raise JudgeBroken(f"the compile worker answered {sorted(header)}")
            reports = [{"dtype": job.dtype, "head": job.head, **report} for report in header["reports"]]
            self._answers[index] = (
                [finding for report in reports for finding in _check(job, report)],
                reports,
            )


def _check(job: Job, report: dict[str, Any]) -> list[Finding]:
    kernel, where, findings = report["kernel"], job.label, []
    if report["error"] is not None:
        return [
            Finding(
                rule="CMP-ERROR",
                where=where,
                line=report["line"],
                message=f"{kernel}: expected it to compile, got {report['error']}",
            )
        ]
    if report["over_limits"] is not None:
        findings.append(
            Finding(
                rule="CMP-SHARED",
                where=where,
                line=report["line"],
                message=f"{kernel}: "
                f"{report['over_limits']}. Use smaller tiles or fewer stages in the default tuning",
            )
        )
    if job.dtype != "float32" and (report["spill_bytes"] or 0) > SPILL_LIMIT_BYTES:
        findings.append(
            Finding(
                rule="CMP-SPILL",
                where=where,
                message=f"{kernel}: spills {report['spill_bytes']:,} B of registers a thread; "
                f"expected at most {SPILL_LIMIT_BYTES}. Use smaller tiles or more warps by default",
            )
        )
    if set(report["dot_precision"]) - {"ieee"}:
        findings.append(
            Finding(
                rule="CMP-DOT-PRECISION",
                where=where,
                message=f"{kernel}: tl.dot on float32 compiles to "
                f'{", ".join(report["dot_precision"])}; expected input_precision="ieee"',
            )
        )
    return findings
