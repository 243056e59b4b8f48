"""Compile the launches that foreign code made, for every target, in processes that may die.

A library's kernels are trusted not to attack, and not to compile: a compiler that aborts or hangs takes one
kernel with it. Launches that specialise alike are compiled once.
"""

from __future__ import annotations

import contextlib
import faulthandler
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Protocol

import triton

from verify.triton_cpu import private
from verify.triton_cpu.compiler.compile import CompilePointer, compile_code
from verify.triton_cpu.compiler.fitting import advised, trouble
from verify.triton_cpu.compiler.report import MESSAGE_CHARACTERS, Advice, CompileReport, ReportError
from verify.triton_cpu.compiler.report_store import ReportStore, compiler_digest
from verify.triton_cpu.compiler.resources import disassembled_census
from verify.triton_cpu.compiler.targets import TARGETS, Target
from verify.triton_cpu.private import JITFunction

KERNEL_SECONDS = 120.0
"""Wall seconds for one kernel on one target, and as many again for its other configurations."""


class LaunchLike(Protocol):
    """What a recorded launch must say: `arguments` by parameter name as `compile_launch` takes them."""

    @property
    def kernel(self) -> JITFunction: ...
    @property
    def arguments(self) -> Mapping[str, Any]: ...
    @property
    def num_warps(self) -> int: ...
    @property
    def num_stages(self) -> int: ...
    @property
    def options(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True, kw_only=True)
class RecordedLaunch:
    """A launch written down by hand; `options` are those beside warps and stages (num_ctas, maxnreg, ...)."""

    kernel: JITFunction
    arguments: Mapping[str, Any]
    num_warps: int = 4
    num_stages: int = 3
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _Task:
    launch: LaunchLike
    key: str
    count: int
    target: Target
    census: bool
    spill_limit: int | None


def compile_recorded(
    launches: Iterable[LaunchLike],
    targets: Sequence[Target] = TARGETS,
    *,
    census: bool = False,
    spill_limit: int | Callable[[LaunchLike], int | None] | None = 0,
    store: ReportStore | None = None,
    processes: int = 2,
    seconds: float = KERNEL_SECONDS,
    answered: Callable[[CompileReport], None] | None = None,
) -> list[CompileReport]:
    """One report for each distinct specialisation and target: by first launch, then by target.

    What does not compile, ends its process or takes longer than `seconds` is a report with an `error`, and
    the rest goes on. A kernel over a limit, or that spills more than `spill_limit` bytes a thread (None: any
    number; a function says it for each launch), is compiled in other configurations too. `store` answers for
    what was compiled before, by the kernel's text and that of all it calls. `answered` hears of each report
    as it comes, still without its census. Deterministic but for `seconds` and what the machine had no time or
    memory for. Raises ToolError where the disassembler does not answer.
    """
    tasks = [
        _Task(
            launch=launch,
            key=key,
            count=count,
            target=target,
            census=census,
            spill_limit=spill_limit(launch) if callable(spill_limit) else spill_limit,
        )
        for key, (launch, count) in distinct_launches(launches).items()
        for target in targets
    ]
    found: dict[int, CompileReport] = {}
    for index, task in enumerate(tasks):
        report = _stored(store, task)
        if report is not None:
            found[index] = report
    waiting = [index for index in range(len(tasks)) if index not in found]
    codes: dict[int, bytes] = {}
    counted: list[int] = []  # those to remember once their instructions are counted

    def remember(index: int) -> None:
        if store is not None:
            store.put("recorded", _store_key(tasks[index]), found[index].to_json())

    for index, report, code, same in _compile(tasks, waiting, min(processes, len(waiting)), seconds):
        found[index] = report
        if code:
            codes[index] = code
            counted += [index] if same else []
        elif same:
            remember(index)
        if answered is not None:
            answered(report)
    _count(tasks, found, codes)
    for index in counted:
        remember(index)
    return [
        found[index].placed(line=private.source_of(task.launch.kernel)[1], launches=task.count)
        for index, task in enumerate(tasks)
    ]


def _count(tasks: Sequence[_Task], found: dict[int, CompileReport], codes: Mapping[int, bytes]) -> None:
    """The census of every kernel that has machine code, in one run of the disassembler for each target."""
    for target in TARGETS:
        indices = [index for index in sorted(codes) if tasks[index].target == target]
        censuses = disassembled_census([codes[index] for index in indices], target)
        for index, census in zip(indices, censuses, strict=True):
            found[index] = replace(found[index], census=census)


def distinct_launches(launches: Iterable[LaunchLike]) -> dict[str, tuple[LaunchLike, int]]:
    """The first launch of each specialisation, and how many there are, by what tells them apart."""
    found: dict[str, tuple[LaunchLike, int]] = {}
    for launch in launches:
        key = specialisation_key(launch)
        first, count = found.get(key, (launch, 0))
        found[key] = (first, count + 1)
    return found


def specialisation_key(launch: LaunchLike) -> str:
    """What the compiler sees of a launch, as text: equal for launches that compile to the same code.

    Of a number that is no constexpr it sees the width, whether it equals one and whether 16 divides it.
    """
    kernel = launch.kernel
    constants, fixed = private.constexpr_parameters(kernel), private.fixed_parameters(kernel)
    arguments = [
        (name, _described(value, constant=name in constants, fixed=name in fixed))
        for name, value in sorted(launch.arguments.items())
    ]
    options = sorted((name, repr(value)) for name, value in launch.options.items())
    return repr((_source_key(kernel), arguments, launch.num_warps, launch.num_stages, options))


def _source_key(kernel: JITFunction) -> str:
    """Where Triton cannot follow what a kernel uses, its own text and place stand for it."""
    try:
        return private.cache_key(kernel)
    except Exception:  # noqa: BLE001  what the compiler will say too, when asked
        text, line = private.source_of(kernel)
        return f"{kernel.fn.__module__}:{line}\n{text}"


def _described(value: Any, *, constant: bool, fixed: bool) -> str:
    if isinstance(value, tuple):
        return repr(tuple(_described(part, constant=constant, fixed=fixed) for part in value))
    if isinstance(value, JITFunction):
        return _source_key(value)
    if isinstance(value, CompilePointer):
        return f"*{value.dtype}{'' if fixed or not value.divisible16 else ' /16'}"
    if hasattr(value, "block_shape") and hasattr(value, "base"):
        return f"descriptor {value.base.dtype} {tuple(value.block_shape)} {value.padding}"
    if constant or value is None or isinstance(value, bool | str):
        return f"{type(value).__name__} {value!r}"
    if isinstance(value, int):
        width = "i32" if -(2**31) <= value < 2**31 else "i64" if value < 2**63 else "u64"
        kind = "" if fixed else " =1" if value == 1 else " /16" if value % 16 == 0 else ""
        return width + kind
    return "float" if isinstance(value, float) else f"{type(value).__name__} {value!r}"


# -------------------------------------------------------------------------------------------------- processes


def _compile(
    tasks: Sequence[_Task], waiting: Sequence[int], processes: int, seconds: float
) -> Iterable[tuple[int, CompileReport, bytes, bool]]:
    """(index, report, machine code, whether it would be the same again) in the order of their ends."""
    if not waiting:
        return
    left = list(reversed(waiting))
    with tempfile.TemporaryDirectory(prefix="verify-compile-") as scratch, contextlib.ExitStack() as stack:
        children: dict[Connection, _Child] = {}

        def begin(child: _Child | None) -> None:
            """Give a child its next task, a new one if it is gone."""
            if not left:
                return
            if child is None:
                child = _Child(tasks, scratch)
                stack.callback(child.end)
            child.ask(left.pop(), time.monotonic() + seconds)
            children[child.connection] = child

        for _ in range(max(1, processes)):
            begin(None)
        while children:
            soonest = min(child.deadline for child in children.values())
            ready = wait(list(children), timeout=max(0.0, soonest - time.monotonic()))
            late = [one for one, child in children.items() if child.deadline <= time.monotonic()]
            for connection in dict.fromkeys([*ready, *late]):
                child = children[connection]  # type: ignore[index]  # wait() returns what it got
                answer = child.answer(seconds)
                if answer is None:
                    continue  # a first report, whose other configurations are still to come
                del children[child.connection]
                index, report, problem = answer
                if report is None:
                    report = _failed(tasks[index], problem)
                yield index, report, child.code, not problem
                begin(None if problem else child)


class _Child:
    """One forked process: it has the kernels, and is told which one to compile."""

    def __init__(self, tasks: Sequence[_Task], scratch: str) -> None:
        context = multiprocessing.get_context("fork")
        self.connection, theirs = context.Pipe()
        folder = tempfile.mkdtemp(dir=scratch)
        self._log = Path(folder) / "log"
        serve = (theirs, tasks, folder, str(self._log))
        self._process = context.Process(target=_serve, args=serve, daemon=True)
        self._process.start()
        theirs.close()
        self._index = -1
        self._first: CompileReport | None = None
        self.code = b""
        self.deadline = 0.0

    def ask(self, index: int, deadline: float) -> None:
        self._index, self.deadline = index, deadline
        self._first, self.code = None, b""
        with contextlib.suppress(OSError):  # it is gone; `answer` says how
            self.connection.send(index)

    def answer(self, seconds: float) -> tuple[int, CompileReport | None, str] | None:
        """(index, report, what went wrong or ""), once there is nothing more to come.

        None for a first report of a kernel in trouble; if the process ends before it has compiled another
        configuration, that report is the answer, and says so.
        """
        problem = ""
        if self.connection.poll():
            try:
                data, code, last = self.connection.recv()
                report = CompileReport.from_json(data)
            except (EOFError, OSError, ReportError):
                self._process.join(timeout=5)
                said = self._log.read_text(errors="replace").strip()[-400:] if self._log.exists() else ""
                problem = f"the compiler's process ended with code {self._process.exitcode}: {said}"
            else:
                self.code = code or self.code
                if last:
                    return self._index, report, ""
                self._first, self.deadline = report, time.monotonic() + seconds
                return None
        else:
            problem = f"expected the compiler to end within {seconds:g} s, got no end"
        self.end()
        if self._first is None:
            return self._index, None, problem
        text = "no other configuration is known to hold: the compiler did not end"
        return self._index, replace(self._first, advice=Advice(tried=(), text=text)), problem

    def end(self) -> None:
        self._process.kill()
        self._process.join()
        self.connection.close()


def _failed(task: _Task, problem: str) -> CompileReport:
    return CompileReport(
        kernel=private.captured_source(task.launch.kernel).__name__,
        target=task.target,
        num_warps=task.launch.num_warps,
        num_stages=task.launch.num_stages,
        error=problem[:MESSAGE_CHARACTERS],
    )


def _serve(connection: Connection, tasks: Sequence[_Task], scratch: str, log: str) -> None:
    """The child: compile what is asked for until the parent leaves. Its prints go to `log`."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(file, 1)
    os.dup2(file, 2)
    faulthandler.disable()  # what matters of an abort is what the compiler says, not where Python was
    private.trust_empty_cache()
    parent = os.getppid()
    while True:
        # Forked children hold copies of each other's connections, so none of these ever ends by itself.
        while not connection.poll(5.0):
            if os.getppid() != parent:
                return
        for report, code, last in _one(tasks[connection.recv()], scratch):
            connection.send((report.to_json(), code, last))


def _one(task: _Task, scratch: str) -> Iterator[tuple[CompileReport, bytes, bool]]:
    """(report, machine code, whether it is the last): before other configurations are tried, and after."""
    launch = task.launch

    def compiled(warps: int, stages: int, *, census: bool = False) -> tuple[CompileReport, bytes]:
        return compile_code(
            launch.kernel,
            launch.arguments,
            num_warps=warps,
            num_stages=stages,
            target=task.target,
            options=launch.options,
            scratch=scratch,
            census=census,
        )

    report, code = compiled(launch.num_warps, launch.num_stages, census=task.census)
    fine = trouble(report, spill_limit=task.spill_limit) is None
    yield report, code, fine
    if not fine:
        found = advised(
            report, lambda warps, stages: compiled(warps, stages)[0], spill_limit=task.spill_limit
        )
        yield found, b"", True


# ------------------------------------------------------------------------------------------------------ store


def _store_key(task: _Task) -> tuple[str, ...]:
    settings = f"census={task.census} spills={task.spill_limit}"
    return (task.key, task.target, settings, triton.__version__, compiler_digest())


def _stored(store: ReportStore | None, task: _Task) -> CompileReport | None:
    data = store.get("recorded", _store_key(task)) if store is not None else None
    try:
        return None if data is None else replace(CompileReport.from_json(data), launches=task.count)
    except ReportError:
        return None
