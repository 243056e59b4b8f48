"""`verify compile`: compile mechanisms for every target, and say what each kernel needs and what limits it.

Wrappers are traced, and kernels compiled, in confined workers; what was compiled before comes from the store,
and when everything does, neither torch nor Triton is loaded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from verify.findings import Finding, in_order
from verify.judge.cache import judge_digest
from verify.judge.compile_pool import Answer, CompilePool, Failure, Unit
from verify.judge.compiling import COMPILE_SECONDS, Job, Shape, check_answer, row, shape_kernels
from verify.judge.judge import COMPILE_LIMITS, WORKER_LIMITS, IsolationError
from verify.judge.session import Rejected, Session
from verify.judge.verdict import FULL_ISOLATION, installed_triton
from verify.plan.specialise import Specialisation, Specialised
from verify.sandbox.client import Server
from verify.source.static import check_static
from verify.triton_cpu.compiler.report import CompileReport, ReportError
from verify.triton_cpu.compiler.report_store import ReportStore, compiler_digest
from verify.triton_cpu.compiler.targets import Target

WORKERS = 2

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to compile, for which targets, and how much to say about it."""

    targets: tuple[Target, ...]
    shapes: tuple[Shape, ...]
    census: bool
    require_isolation: bool


@dataclass(kw_only=True)
class _File:
    """One mechanism on its way: its jobs, and what was found."""

    path: Path
    source: bytes
    jobs: list[Job] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Compiled:
    """The document of `verify compile`, and what its closing sentence needs. Only the seconds in it vary."""

    document: dict[str, Any]
    kernels: int
    compiled: int
    rejected: int
    timed_out: bool


class _Sandbox:
    """The warm server, started by the first question that the store cannot answer."""

    def __init__(self, stack: ExitStack, make: Callable[[], Server], *, require_isolation: bool) -> None:
        self._stack, self._make, self._require = stack, make, require_isolation
        self._server: Server | None = None

    def server(self) -> Server:
        if self._server is None:
            self._server = self._stack.enter_context(closing(self._make()))
            isolation = self._server.isolation
            if self._require and isolation != FULL_ISOLATION:
                raise IsolationError(
                    f"expected {FULL_ISOLATION} on this machine, got {isolation}; pass "
                    "--allow-weak-isolation only for sources you trust"
                )
        return self._server


def compile_files(
    sources: Sequence[tuple[Path, bytes]],
    request: Request,
    *,
    store: ReportStore | None,
    say: Say,
    make_server: Callable[[], Server] = Server,
) -> Compiled:
    """Compile every kernel of every file; a file or a kernel that fails is a finding and the rest goes on.

    `store` of None asks the compiler again for everything. `say` gets a line for everything that is begun or
    done. Raises IsolationError where the machine cannot confine a compiler and weaker isolation was not
    allowed.
    """
    files = [_File(path=path, source=source) for path, source in sources]
    answers: dict[Unit, Answer] = {}
    done = 0
    with ExitStack() as stack:
        sandbox = _Sandbox(stack, make_server, require_isolation=request.require_isolation)
        pool: CompilePool | None = None

        def answered(unit: Unit, answer: Answer) -> None:
            nonlocal done
            done += 1
            if store is not None and isinstance(answer, CompileReport) and _complete(unit, answer):
                store.put("report", unit_key(unit), answer.to_json())
            say(f"{done:4}  {unit.launch.kernel} for {unit.group}: {_word(answer)}")

        for file in files:
            _find_kernels(file, request, store, sandbox, say)
            missing = []
            for job in file.jobs:
                for unit in job.units(file.source, census=request.census):
                    known = _stored(store, unit)
                    if known is None:
                        missing.append(unit)
                    else:
                        answers[unit] = known
            if missing:
                if pool is None:
                    pool = CompilePool(
                        sandbox.server(), COMPILE_LIMITS, seconds=COMPILE_SECONDS, answered=answered
                    )
                    stack.callback(pool.close)
                pool.add(missing)
                pool.start()  # one beside the tracing of the next file
        if pool is not None:
            answers |= pool.result(workers=WORKERS)
    return _document(files, request, answers, compiled=done)


def _find_kernels(
    file: _File, request: Request, store: ReportStore | None, sandbox: _Sandbox, say: Say
) -> None:
    """The file's jobs: from the store, else by tracing its wrappers. What refuses it is a finding."""
    needed = {shape: _kernels_key(file.source, shape) for shape in request.shapes}
    known = {shape: _stored_kernels(store, key) for shape, key in needed.items()}
    if any(kernels is None for kernels in known.values()):
        say(f"tracing {file.path}")
        static = check_static(file.source, path=str(file.path))
        if static.mechanism is None:
            file.findings += static.findings
            return
        try:
            with Session(sandbox.server(), static.mechanism, WORKER_LIMITS, roles=("trace",)) as session:
                for shape, key in needed.items():
                    kernels = shape_kernels(session, shape)
                    known[shape] = kernels
                    if store is not None:
                        store.put("kernels", key, [_specialised_json(one) for one in kernels])
        except Rejected as rejected:
            file.findings.append(rejected.finding)
    file.jobs = [
        Job(shape=shape, target=target, kernels=kernels)
        for shape, kernels in known.items()
        if kernels is not None
        for target in request.targets
    ]


def _document(
    files: Sequence[_File], request: Request, answers: dict[Unit, Answer], *, compiled: int
) -> Compiled:
    rows, kernels, rejected, timed_out = [], 0, 0, False
    for file in files:
        reports = []
        for job in file.jobs:
            for unit, one in zip(job.units(file.source, census=request.census), job.kernels, strict=True):
                answer = answers[unit]
                file.findings += check_answer(job, one, answer)
                if isinstance(answer, CompileReport):
                    reports.append(row(job, one, answer, seconds=True))
        findings = in_order(file.findings)
        timed_out |= any(one.rule == "ADM-TIMEOUT" for one in findings)
        rejected, kernels = rejected + bool(findings), kernels + len(reports)
        rows.append(
            {
                "path": str(file.path),
                "source_hash": hashlib.sha256(file.source).hexdigest(),
                "launches": {
                    job.label: sum(one.launches for one in job.kernels)
                    for job in file.jobs
                    if job.target == request.targets[0]
                },
                "findings": [one.to_json() for one in findings],
                "reports": reports,
            }
        )
    document = {"triton": installed_triton(), "targets": list(request.targets), "mechanisms": rows}
    return Compiled(
        document=document, kernels=kernels, compiled=compiled, rejected=rejected, timed_out=timed_out
    )


def _complete(unit: Unit, report: CompileReport) -> bool:
    """Nothing is missing for want of a disassembler that answered."""
    return report.error is not None or report.census is not None or not unit.census


def _word(answer: Answer) -> str:
    if isinstance(answer, Failure):
        return answer.kind
    state = "does not compile" if answer.error else "does not fit" if answer.exceeded else "compiled"
    return f"{state} ({answer.seconds:.1f} s)"


# ---------------------------------------------------------------------------------------------------- store


def _kernels_key(source: bytes, shape: Shape) -> tuple[str | bytes, ...]:
    """Which kernels are launched depends on the source, the shape and all of the judge."""
    return (source, shape.dtype, str(shape.head), judge_digest())


def unit_key(unit: Unit) -> tuple[str | bytes, ...]:
    """A report depends on the whole source, so that no source can speak for another one."""
    return (
        unit.source,
        repr(unit.launch),
        unit.target,
        f"census={unit.census} advice={unit.advice} spills={unit.spill_limit}",
        installed_triton() or "none",
        compiler_digest(),
    )


def _stored_kernels(
    store: ReportStore | None, key: tuple[str | bytes, ...]
) -> tuple[Specialised, ...] | None:
    data = store.get("kernels", key) if store is not None else None
    try:
        return None if data is None else tuple(_specialised(one) for one in data)
    except (KeyError, TypeError, ValueError):
        return None


def _stored(store: ReportStore | None, unit: Unit) -> CompileReport | None:
    data = store.get("report", unit_key(unit)) if store is not None else None
    try:
        return None if data is None else CompileReport.from_json(data)
    except ReportError:
        return None


def _specialised_json(one: Specialised) -> dict[str, Any]:
    return {"launch": one.specialisation.to_json(), "line": one.line, "launches": one.launches}


def _specialised(data: Any) -> Specialised:
    return Specialised(
        specialisation=Specialisation.from_json(data["launch"]),
        line=int(data["line"]),
        launches=int(data["launches"]),
    )
