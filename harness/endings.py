"""How commands end: results on stdout, and whatever stops one as one line on stderr and an exit code."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.text import Text

from harness.errors import HarnessError
from harness.printable import printable
from verify.exits import INTERRUPTED, READER_LEFT, discard

TRACEBACK = "HARNESS_TRACEBACK"
"""Set to anything, a defect of ours is told with all of its frames."""

_WIDTH = 120
"""Columns of tables where there is no terminal to ask."""


class _Results(Console):
    """Stdout; whoever reads it may leave, which ends the command."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


class _Remarks(Console):
    """Stderr; whoever reads it may leave, and the work goes on without a word."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        discard(sys.stderr)


def results_console() -> Console:
    """Stdout for tables: as wide as the terminal, or fixed where there is none."""
    if sys.stdout is None:  # closed by whoever started us
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  for as long as we run
    return _Results(width=None if sys.stdout.isatty() else _WIDTH)


def remarks_console() -> Console:
    """Stderr for progress and for what stops a command."""
    return _Remarks(stderr=True)


def guarded(command: Callable[[], int]) -> int:
    """Run a command; whatever stops it becomes one line on stderr and an exit code."""
    stderr = remarks_console()
    try:
        return _flushed(command())
    except HarnessError as error:
        return _stopped(stderr, str(error), error.exit_code)
    except BrokenPipeError:
        discard(sys.stdout)
        return READER_LEFT
    except KeyboardInterrupt:
        stderr.print(
            "interrupted: everything finished is kept. Run the same command again to go on.", soft_wrap=True
        )
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001  the last one that can say it in a line
        return _defect(stderr, error)


def _flushed(code: int) -> int:
    """Write out what stdout still holds, while a full disk or a reader that left can still be told."""
    if sys.stdout is not None:
        sys.stdout.flush()
    return code


def _stopped(stderr: Console, said: str, code: int) -> int:
    stderr.print(Text(f"error: {printable(said)}"), soft_wrap=True)
    return code


def _defect(stderr: Console, error: Exception) -> int:
    """A defect of ours, or a machine that fails in a way nobody thought of."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        discard(sys.stdout)  # it may be stdout that is full
        return _stopped(stderr, f"cannot write ({error}). Make room, then run it again.", 3)
    frame = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(frame.filename).name}:{frame.lineno} in {frame.name}"
    if TRACEBACK in os.environ:
        stderr.print(Text("".join(traceback.format_exception(error))), soft_wrap=True)
    return _stopped(
        stderr,
        f"a defect of ours, or a machine in a state that nobody thought of: {type(error).__name__}: "
        f"{str(error)[:300]} ({where}). What was finished is kept. Please report it, with what "
        f"{TRACEBACK}=1 adds.",
        HarnessError.exit_code,
    )
