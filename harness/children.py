"""Child processes that never outlive the process they work for."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from collections.abc import Iterator
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

_PR_SET_PDEATHSIG = 1
_PATIENCE = 5.0
"""Seconds that a child has to end by itself."""


def die_with(parent: int) -> None:
    """Ask the kernel (Linux) to end this process when its parent ends; elsewhere the closed pipe ends it
    later.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise SystemExit(0)


@contextlib.contextmanager
def serving(parent: int) -> Iterator[None]:
    """The life of a child: Ctrl-C is the parent's to handle, SIGTERM ends it as if it had finished, and once
    it has finished, nothing interrupts what it does at its exit.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    die_with(parent)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def end(process: BaseProcess, connection: Connection) -> None:
    """End a child: its pipe closes, it is told to, and where it does not listen it is killed."""
    connection.close()
    if process.is_alive():
        process.terminate()
    process.join(_PATIENCE)
    if process.is_alive():
        process.kill()
        process.join()


def _leave(_signal: int, _frame: object) -> None:
    raise SystemExit(0)
