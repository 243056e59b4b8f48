"""Evaluations in processes of this machine.

Workers are spawned, so they share nothing with this process; they ignore Ctrl-C, which is this process's to
handle; and they end when it ends, however it ends. Each has one request at a time, so it is known which
request a worker died of.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import traceback
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Self

from harness.children import end, serving
from harness.compose.engines.protocol import TRIES, Evaluate, WorkerDied, in_order
from harness.compose.engines.worker import Call
from harness.compose.proxies.request import ProxyRequest, ProxyResult


@dataclass(frozen=True)
class _Death:
    """How a worker ended."""

    sentence: str


_Reply = ProxyResult | BaseException | _Death


class LocalEngine:
    """`workers` processes, started when they are first needed and kept; an `Engine`."""

    def __init__(self, evaluate: Evaluate, *, workers: int) -> None:
        """Raises ValueError for fewer than one worker, or a function that cannot be imported by name."""
        if workers < 1:
            raise ValueError(f"workers: expected one or more, got {workers}")
        self._call = Call.of(evaluate)
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

    def run(self, requests: Sequence[ProxyRequest]) -> Iterator[ProxyResult]:
        return in_order(self.completed(requests))

    def completed(self, requests: Sequence[ProxyRequest]) -> Iterator[tuple[int, ProxyResult]]:
        waiting = deque((position, 1) for position in range(len(requests)))
        lost: dict[int, str] = {}
        while len(self._workers) < min(self._size, len(requests)):
            self._workers.append(_Worker(self._call))
        try:
            while waiting or any(worker.busy for worker in self._workers):
                self._hand_out(waiting, requests)
                for worker in self._answering():
                    position, attempt, reply = worker.reply()
                    if isinstance(reply, ProxyResult):
                        yield position, reply
                    elif isinstance(reply, BaseException):
                        raise reply
                    else:
                        self._replace(worker)
                        _try_again(waiting, lost, position, attempt, reply.sentence)
        finally:
            self._retire_busy()
        if lost:
            raise WorkerDied(lost, requests)

    def _hand_out(self, waiting: deque[tuple[int, int]], requests: Sequence[ProxyRequest]) -> None:
        for worker in self._workers:
            if waiting and not worker.busy:
                position, attempt = waiting.popleft()
                worker.submit(requests[position], position, attempt)

    def _answering(self) -> list[_Worker]:
        """The busy workers that have something to say or have ended; waits for one."""
        busy = [worker for worker in self._workers if worker.busy]
        ready = wait([worker.connection for worker in busy])
        return [worker for worker in busy if worker.connection in ready]

    def _replace(self, worker: _Worker) -> None:
        worker.stop()
        self._workers[self._workers.index(worker)] = _Worker(self._call)

    def _retire_busy(self) -> None:
        """Workers that still compute what nobody waits for any more: their answers must not come later."""
        for worker in [worker for worker in self._workers if worker.busy]:
            worker.stop()
            self._workers.remove(worker)


def _try_again(
    waiting: deque[tuple[int, int]], lost: dict[int, str], position: int, attempt: int, sentence: str
) -> None:
    if attempt < TRIES:
        waiting.appendleft((position, attempt + 1))
    else:
        lost[position] = sentence


class _Worker:
    """One process and the request it has."""

    def __init__(self, call: Call) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(call, theirs, os.getpid()), daemon=True)
        self._process.start()
        theirs.close()
        self._task: tuple[int, int] | None = None

    @property
    def busy(self) -> bool:
        return self._task is not None

    def submit(self, request: ProxyRequest, position: int, attempt: int) -> None:
        self._task = (position, attempt)
        with contextlib.suppress(OSError):  # a process that has ended is found out by its silent pipe
            self.connection.send(request)

    def reply(self) -> tuple[int, int, _Reply]:
        """(position, attempt, what came of it)."""
        assert self._task is not None
        position, attempt = self._task
        self._task = None
        try:
            reply: _Reply = self.connection.recv()
        except (EOFError, OSError):
            self._process.join(5.0)
            reply = _Death(f"exit code {self._process.exitcode}")
        return position, attempt, reply

    def stop(self) -> None:
        """End the process."""
        end(self._process, self.connection)


def _serve(call: Call, connection: Connection, parent: int) -> None:
    """The life of a worker: load the function, answer requests until the pipe closes."""
    with serving(parent), contextlib.suppress(EOFError, OSError):
        while True:
            request = connection.recv()
            try:
                reply: _Reply = call(request)
            except Exception as error:  # noqa: BLE001  whatever it is, the process that asked raises it
                reply = _portable(error)
            connection.send(reply)


def _portable(error: Exception) -> Exception:
    """The same exception if it survives pickling, else its text; with the worker's traceback as a note."""
    note = traceback.format_exc()
    try:
        copy = pickle.loads(pickle.dumps(error))  # noqa: S301  our own bytes
    except Exception:  # noqa: BLE001  exceptions decide themselves how they fail to be copied
        copy = RuntimeError(f"{type(error).__name__}: {error}")
    assert isinstance(copy, Exception)
    copy.add_note(f"in a worker process:\n{note}")
    return copy
