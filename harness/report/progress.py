"""Progress of a run on stderr: a live table on a terminal, plain lines anywhere else."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from harness.engine.state import RunState
from harness.printable import printable
from harness.report.design_table import design_table

_OTHER_LINES = 6
"""Terminal lines that are not table rows: header, message, prompt."""


class Progress(Protocol):
    """A context manager that is told of every change of the run."""

    def __call__(self, state: RunState, message: str) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def progress(console: Console) -> Progress:
    """The progress that fits `console`: nothing moves off a terminal."""
    return LiveTable(console) if console.is_terminal else PlainLines(console)


class PlainLines:
    """One line per change."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def __call__(self, state: RunState, message: str) -> None:  # noqa: ARG002  lines tell of changes only
        self._console.print(Text(printable(message)), soft_wrap=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


class LiveTable:
    """The newest rows of the table, redrawn in place, with the last change below; gone when the run ends."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def __call__(self, state: RunState, message: str) -> None:
        rows = max(3, self._console.size.height - _OTHER_LINES)
        last = Text(printable(message), style="dim", no_wrap=True, overflow="ellipsis")
        self._live.update(Group(design_table(state, newest=rows), last), refresh=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()
