"""How commands end: results on stdout, and whatever stops one as one line on stderr and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable

from rich.console import Console
from rich.text import Text

from harness.errors import HarnessError

INTERRUPTED = 130
_WIDTH = 120
"""Columns of tables where there is no terminal to ask."""


def results_console() -> Console:
    """Stdout for tables: as wide as the terminal, or fixed where there is none."""
    return Console(width=None if sys.stdout.isatty() else _WIDTH)


def guarded(command: Callable[[], int]) -> int:
    """Run a command; whatever stops it becomes one line on stderr and an exit code."""
    stderr = Console(stderr=True)
    try:
        return command()
    except HarnessError as error:
        stderr.print(Text(f"error: {error}"), soft_wrap=True)
        return error.exit_code
    except KeyboardInterrupt:
        stderr.print(
            "interrupted: everything finished is kept. Run the same command again to go on.", soft_wrap=True
        )
        return INTERRUPTED
