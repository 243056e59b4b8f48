"""A pool of judge processes: tasks go out in order, answers come back as they are ready.

Every process opens one judge, with its own sandbox server, and keeps it. Processes are spawned, so they
share nothing with this one; they ignore Ctrl-C, which is this process's to handle; and they end when it
ends, however it ends, since their pipe closes and the kernel tells them.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any, Protocol, Self

from harness.children import end, serving
from harness.errors import HarnessError
from verify.judge.verdict import Depth, Verdict

TASK_SECONDS = 900.0
"""A judge that says nothing for this long is ended: the machine's fault, never a verdict."""


REMEMBERED = "remembered"
"""Marks, in what a judge measured, a verdict that was given earlier: its numbers stand, but it cost nothing
now.
"""


class Judge(Protocol):
    """What this package needs of `verify.judge.judge.Judge`."""

    def check(self, source: bytes, *, path: str, depth: Depth) -> Verdict: ...


JudgeFactory = Callable[[], AbstractContextManager[Judge]]
"""Opens a judge; importable by name, since it is called in the spawned process."""


@dataclass(frozen=True, kw_only=True)
class JudgeTask:
    """One source to be judged. `position` is the proposal's; `path` names the file in messages."""

    position: int
    path: str
    source: bytes
    depth: Depth


@dataclass(frozen=True, kw_only=True)
class Judged:
    """The answer: the verdict, its noisy numbers, and the CPU seconds it took."""

    verdict: Verdict
    measured: dict[str, Any]
    cpu_seconds: float


class JudgePool:
    """`workers` judge processes. A context manager; leaving it ends them."""

    def __init__(self, factory: JudgeFactory, *, workers: int) -> None:
        if workers < 1:
            raise ValueError(f"expected at least 1 worker, got {workers}")
        self._factory = factory
        self._size = workers
        self._workers: list[_Worker] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        for worker in self._workers:
            worker.stop()
        self._workers.clear()

    def begin(self, task: JudgeTask) -> None:
        """Start on a task that the next call of `judge` will hold, where a process is free for it."""
        if len(self._workers) < self._size:
            self._workers.append(_Worker(self._factory))
        free = next((worker for worker in self._workers if not worker.busy), None)
        if free is not None:
            free.submit(task, 1)

    def judge(self, tasks: Sequence[JudgeTask]) -> Iterator[tuple[JudgeTask, Judged]]:
        """Every task with its answer, in the order in which they finish.

        A task whose judge fails is given to a fresh one, once. If that fails too, the other tasks are still
        finished and yielded; then HarnessError is raised.
        """
        begun = [worker.task for worker in self._workers if worker.busy]
        waiting = deque((task, 1) for task in tasks if task not in begun)
        failures: list[str] = []
        while len(self._workers) < min(self._size, len(tasks)):
            self._workers.append(_Worker(self._factory))
        while waiting or any(worker.busy for worker in self._workers):
            for worker in self._workers:
                if waiting and not worker.busy:
                    worker.submit(*waiting.popleft())
            for worker in self._answering():
                task, attempt, answer = worker.answer()
                if isinstance(answer, Judged):
                    yield task, answer
                    continue
                self._workers[self._workers.index(worker)] = _Worker(self._factory)
                worker.stop()
                if attempt == 1:
                    waiting.appendleft((task, 2))
                else:
                    failures.append(f"{task.path} at depth {task.depth}: {answer}")
        if failures:
            raise HarnessError(
                f"{len(failures)} of {len(tasks)} could not be judged, twice ({failures[0]}). "
                "Nothing finished is lost: run the same command again."
            )

    def _answering(self) -> list[_Worker]:
        """The busy workers that have something to say, have ended, or have been silent too long; waits for
        one.
        """
        busy = [worker for worker in self._workers if worker.busy]
        patience = max(0.0, min(worker.deadline for worker in busy) - time.monotonic())
        ready = wait([worker.connection for worker in busy], timeout=patience)
        now = time.monotonic()
        return [worker for worker in busy if worker.connection in ready or worker.deadline <= now]


class _Worker:
    """One process and the task it has."""

    def __init__(self, factory: JudgeFactory) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(factory, theirs, os.getpid()), daemon=True)
        self._process.start()
        theirs.close()
        self._task: tuple[JudgeTask, int] | None = None
        self.deadline = 0.0

    @property
    def busy(self) -> bool:
        return self._task is not None

    @property
    def task(self) -> JudgeTask | None:
        """What it is judging."""
        return None if self._task is None else self._task[0]

    def submit(self, task: JudgeTask, attempt: int) -> None:
        self._task = (task, attempt)
        self.deadline = time.monotonic() + TASK_SECONDS
        with contextlib.suppress(OSError):  # a process that has ended is found out by its silent pipe
            self.connection.send((task.source, task.path, task.depth))

    def answer(self) -> tuple[JudgeTask, int, Judged | str]:
        """The task, its attempt, and the answer, or a sentence where there is none."""
        assert self._task is not None
        task, attempt = self._task
        self._task = None
        if not self.connection.poll():
            return task, attempt, f"no answer within {TASK_SECONDS:.0f} s"
        try:
            answer = self.connection.recv()
        except (EOFError, OSError):
            self._process.join(5.0)
            return task, attempt, f"the judge's process ended with exit code {self._process.exitcode}"
        if isinstance(answer, str):
            return task, attempt, answer
        verdict, measured, cpu_seconds = answer
        return (
            task,
            attempt,
            Judged(verdict=Verdict.from_bytes(verdict), measured=measured, cpu_seconds=cpu_seconds),
        )

    def stop(self) -> None:
        """End the process; its sandbox server ends with it."""
        end(self._process, self.connection)


def _serve(factory: JudgeFactory, connection: Connection, parent: int) -> None:
    """The life of a judge process: open a judge, answer tasks until the pipe closes."""
    with serving(parent):
        try:
            with factory() as judge:
                _answer_all(judge, connection)
        except Exception as error:  # noqa: BLE001  the judge could not be opened: said as the answer to the first task
            with contextlib.suppress(OSError, EOFError):
                connection.recv()
                connection.send(_sentence(error))


def _answer_all(judge: Judge, connection: Connection) -> None:
    while True:
        try:
            source, path, depth = connection.recv()
        except (EOFError, OSError):
            return
        before = _cpu_seconds()
        try:
            verdict = judge.check(source, path=path, depth=depth)
        except Exception as error:  # noqa: BLE001  not a verdict: the pool tries a fresh process, then says so
            connection.send(_sentence(error))
            continue
        measured = dict(verdict.measured)
        spent = float(measured.get("cpu_seconds", _cpu_seconds() - before))
        if measured.pop(REMEMBERED, False):
            spent = 0.0
        connection.send((verdict.to_bytes(), measured, round(spent, 3)))


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _sentence(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
