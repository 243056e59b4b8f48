"""Confined workers that compile, a few at a time, and what they answer.

A worker belongs to one source. One that dies takes only the kernel with it that it was at; one that takes
too long ends its source, whatever is left of it. Reports are checked where they arrive.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from verify.plan.specialise import Specialisation
from verify.sandbox.client import Limits, RemoteRefusal, Server, Worker, WorkerFailure
from verify.sandbox.worker import printable
from verify.triton_cpu.compiler.fitting import SPILL_LIMIT_BYTES, advised
from verify.triton_cpu.compiler.report import CompileReport, ReportError, census_from_json
from verify.triton_cpu.compiler.targets import Target

_CODE_BYTES = 8 << 20
_PROBLEM_CHARACTERS = 400


@dataclass(frozen=True, kw_only=True)
class Unit:
    """One kernel of one source for one target. `group` names the shape and target that it belongs to.

    With `advice` a kernel that does not fit, or spills more than `spill_limit` bytes, is compiled in other
    configurations too.
    """

    source: bytes = field(repr=False)
    group: str
    index: int
    launch: Specialisation
    target: Target
    census: bool = False
    advice: bool = True
    spill_limit: int | None = SPILL_LIMIT_BYTES


@dataclass(frozen=True, kw_only=True)
class Failure:
    """No report: the worker ended ("failed") or its source had used up its time ("timeout")."""

    kind: Literal["failed", "timeout"]
    detail: str


Answer = CompileReport | Failure


class CompilePool:
    """Units in the order they were added; `start` begins with one worker, and once more with one more."""

    def __init__(
        self,
        server: Server,
        limits: Limits,
        *,
        seconds: float,
        answered: Callable[[Unit, Answer], None] | None = None,
    ) -> None:
        self._seconds, self._answered = seconds, answered
        self._waiting: deque[Unit] = deque()
        self._held: dict[int, bytes] = {}  # thread -> the source that its worker has open
        self._spent: dict[tuple[bytes, str], float] = {}
        self._late: set[bytes] = set()
        self._answers: dict[Unit, Answer] = {}
        self._groups: dict[tuple[bytes, str], list[Unit]] = {}
        self._codes: dict[Unit, bytes] = {}
        self._workers = _Workers(server, limits)
        self._threads = ThreadPoolExecutor(thread_name_prefix="compile")
        self._futures: list[Future[None]] = []
        self._lock = threading.Lock()
        self._closed = False

    def add(self, units: Sequence[Unit]) -> None:
        """More units, after those that wait. Those of one group come together, if a census is wanted."""
        with self._lock:
            self._waiting.extend(units)
            for unit in units:
                self._groups.setdefault((unit.source, unit.group), []).append(unit)

    def start(self, workers: int = 1) -> None:
        """See that so many workers are at it, as long as anything waits."""
        with self._lock:
            alive = sum(1 for future in self._futures if not future.done())
            missing = min(workers - alive, len(self._waiting))
            self._futures += [self._threads.submit(self._run) for _ in range(missing)]

    def result(self, workers: int = 2) -> dict[Unit, Answer]:
        """Wait until nothing is left: what came of every unit. Raises what broke a thread."""
        while True:
            self.start(workers)
            for future in self._futures:
                future.result()
            if not self._waiting:
                return dict(self._answers)

    def close(self) -> None:
        """Stop compiling, finished or not."""
        with self._lock:
            self._closed = True
            self._waiting.clear()
        self._workers.close()
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _run(self) -> None:
        hand = _Hand(self._workers)
        try:
            while (unit := self._take(hand.source)) is not None:
                answer = self._compile(hand, unit)
                with self._lock:
                    if self._closed:
                        return
                    self._answers[unit] = answer
                    group = self._groups[unit.source, unit.group]
                    finished = all(one in self._answers for one in group)
                if not unit.census:
                    self._tell([unit])
                elif finished:  # the census of a group is taken at its end, and only then is it complete
                    self._count(hand, group)
                    self._tell(group)
        finally:
            hand.drop()
            with self._lock:
                self._held.pop(threading.get_ident(), None)

    def _tell(self, units: Sequence[Unit]) -> None:
        if self._answered is not None:
            for unit in units:
                self._answered(unit, self._answers[unit])

    def _take(self, mine: bytes | None) -> Unit | None:
        """The next unit: of the source whose worker is here, else of one that nobody has, else any."""
        with self._lock:
            others = set(self._held.values()) - ({mine} if mine is not None else set())
            ranked = (
                [unit for unit in self._waiting if unit.source == mine][:1]
                or [unit for unit in self._waiting if unit.source not in others][:1]
                or list(self._waiting)[:1]
            )
            if not ranked:
                return None
            self._waiting.remove(ranked[0])
            self._held[threading.get_ident()] = ranked[0].source
            return ranked[0]

    def _compile(self, hand: _Hand, unit: Unit) -> Answer:
        began = time.monotonic()
        budget = (unit.source, unit.group)
        deadline = began + self._seconds - self._spent.get(budget, 0.0)
        try:
            if unit.source in self._late:
                return self._give_up(unit)
            report, code = hand.ask(unit, unit.launch, deadline, census=unit.census)
            if code:
                self._codes[unit] = code

            return self._advise(hand, unit, report) if unit.advice else report
        except _Late:
            return self._give_up(unit)
        except WorkerFailure as failure:
            if failure.kind == "timeout":
                return self._give_up(unit)
            return Failure(kind="failed", detail=f"{failure}")
        except (RemoteRefusal, ReportError) as failure:
            return Failure(kind="failed", detail=f"{failure}")
        finally:
            with self._lock:
                self._spent[budget] = self._spent.get(budget, 0.0) + time.monotonic() - began

    def _advise(self, hand: _Hand, unit: Unit, report: CompileReport) -> CompileReport:
        """Other configurations, in a time of their own: they must not make a late source of a bad one."""
        began = time.monotonic()
        budget = (unit.source, f"{unit.group}, other configurations")
        deadline = began + self._seconds - self._spent.get(budget, 0.0)

        def again(warps: int, stages: int) -> CompileReport:
            other = replace(unit.launch, num_warps=warps, num_stages=stages)
            return hand.ask(unit, other, deadline)[0]

        try:
            return advised(report, again, spill_limit=unit.spill_limit)
        finally:
            spent = time.monotonic() - began
            with self._lock:
                self._spent[budget] = self._spent.get(budget, 0.0) + spent
                main = (unit.source, unit.group)
                self._spent[main] = self._spent.get(main, 0.0) - spent  # `_compile` counts it there

    def _count(self, hand: _Hand, group: Sequence[Unit]) -> None:
        """The census of a group's kernels, in one run of the disassembler."""
        units = [unit for unit in group if unit in self._codes]
        if not units:
            return
        problem, censuses = "", None
        try:
            censuses = hand.census(units[0], [self._codes.pop(unit) for unit in units])
        except (WorkerFailure, RemoteRefusal, ReportError) as failure:
            problem = f"no census: {failure}"[:_PROBLEM_CHARACTERS]
        for at, unit in enumerate(units):
            report = self._answers[unit]
            if isinstance(report, CompileReport):
                counted = replace(report, census=censuses[at]) if censuses is not None else report
                warned = (*report.warnings, problem) if problem else report.warnings
                with self._lock:
                    self._answers[unit] = replace(counted, warnings=warned)

    def _give_up(self, unit: Unit) -> Failure:
        self._late.add(unit.source)
        return Failure(
            kind="timeout", detail=f"expected all kernels within {self._seconds:g} s of compiling, got no end"
        )


class _Late(Exception):
    """A group has used up its time."""


class _Workers:
    """Every worker that lives, so that all can be ended at once."""

    def __init__(self, server: Server, limits: Limits) -> None:
        self._server, self._limits = server, limits
        self._living: set[Worker] = set()
        self._lock = threading.Lock()
        self._closed = False

    def open(self, source: bytes) -> Worker:
        worker = self._server.worker("compile", source=source, limits=self._limits)
        with self._lock:
            self._living.add(worker)
            closed = self._closed
        if closed:
            worker.kill()
        return worker

    def end(self, worker: Worker) -> None:
        with self._lock:
            self._living.discard(worker)
        worker.kill()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            living = tuple(self._living)
        for worker in living:
            worker.kill()


class _Hand:
    """The one worker of a thread, opened again for another source and after it has died."""

    def __init__(self, workers: _Workers) -> None:
        self._workers = workers
        self._worker: Worker | None = None
        self.source: bytes | None = None

    def ask(
        self, unit: Unit, launch: Specialisation, deadline: float, *, census: bool = False
    ) -> tuple[CompileReport, bytes]:
        """The report on one specialisation, and for a census the machine code that still is to be counted.

        Raises WorkerFailure, RemoteRefusal, ReportError or _Late.
        """
        if time.monotonic() > deadline:
            raise _Late
        asked = {"launch": launch.to_json(), "target": unit.target, "census": census}
        header, blobs = self._call(unit.source, "compile", asked)
        if len(blobs) > census or set(header) != {"report"}:
            raise ReportError(f"expected one report, got {sorted(header)} and {len(blobs)} blobs")
        code = blobs[0] if blobs else b""
        if len(code) > _CODE_BYTES:
            raise ReportError(f"expected at most {_CODE_BYTES} bytes of machine code, got {len(code)}")
        report = CompileReport.from_json(header["report"])
        if (report.kernel, report.target) != (launch.kernel, unit.target):
            raise ReportError(f"expected a report on {launch.kernel}, got one on {printable(report.kernel)}")
        clean = replace(
            report,
            advice=None,
            error=None if report.error is None else printable(report.error),
            warnings=tuple(printable(text) for text in report.warnings),
        )
        return clean, code

    def census(self, unit: Unit, codes: Sequence[bytes]) -> list[dict[str, dict[str, int]] | None]:
        """The census of each kernel. Raises WorkerFailure, RemoteRefusal or ReportError."""
        header, blobs = self._call(unit.source, "census", {"target": unit.target}, codes)
        if blobs or set(header) != {"censuses"} or not isinstance(header["censuses"], list):
            raise ReportError(f"expected censuses, got {sorted(header)} and {len(blobs)} blobs")
        if len(header["censuses"]) != len(codes):
            raise ReportError(f"expected {len(codes)} censuses, got {len(header['censuses'])}")
        return [census_from_json(one) for one in header["censuses"]]

    def _call(
        self, source: bytes, method: str, header: dict[str, Any], blobs: Sequence[bytes] = ()
    ) -> tuple[dict[str, Any], list[bytes]]:
        if self._worker is None or self.source != source:
            self.drop()
            self._worker, self.source = self._workers.open(source), source
        try:
            return self._worker.call(method, header, blobs)
        except WorkerFailure:
            self.drop()
            raise

    def drop(self) -> None:
        """End the worker, if there is one."""
        if self._worker is not None:
            self._workers.end(self._worker)
        self._worker, self.source = None, None
