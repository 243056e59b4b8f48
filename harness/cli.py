"""The command line of the search. Results go to stdout, progress to stderr; the exit code says how it ended.

Exit codes: 0 something was admitted, 1 everything was rejected, 2 usage, 3 infrastructure, 5 nothing to
check, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.text import Text

from harness.errors import HarnessError

app = typer.Typer(
    help="Proposes sequence-mixing mechanisms, has them judged, and keeps those that are admitted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
INTERRUPTED = 130
_WIDTH = 120
"""Columns of tables where there is no terminal to ask."""


class DepthChoice(StrEnum):
    """How deep candidates are judged."""

    quick = "quick"
    full = "full"


def main() -> NoReturn:
    """Run the command line; ends the process with its exit code."""
    app(prog_name="harness")
    raise AssertionError("typer ends the process")


@app.callback()
def _commands() -> None:
    """Keeps `design` a subcommand while it is the only one."""


@app.command()
def design(
    family: Annotated[str, typer.Option(help="Family of skeletons to search, or all of them.")] = "all",
    budget: Annotated[int, typer.Option(min=1, help="Proposals at most.")] = 32,
    admit: Annotated[int, typer.Option(min=1, help="Stop when this many are admitted.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="Root of every random choice.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder for admitted candidates.")] = Path("candidates"),
    runs: Annotated[
        Path, typer.Option(help="Folder for run records; the same command goes on where it stopped.")
    ] = Path("runs"),
    depth: Annotated[
        DepthChoice, typer.Option(help="quick screens only; full also admits.")
    ] = DepthChoice.full,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Judge processes (default: 2, or fewer cores).")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document instead of tables.")
    ] = False,
    output: Annotated[Path | None, typer.Option(help="Also write the JSON document to this file.")] = None,
) -> None:
    """Generate mechanisms offline, judge them, and write the admitted ones as folders."""
    from harness.commands.design import DesignRequest, run  # noqa: PLC0415  --help loads no judge

    request = DesignRequest(
        family=family,
        budget=budget,
        admit=admit,
        seed=seed,
        out=out,
        runs=runs,
        depth=depth.value,
        workers=workers or min(2, os.cpu_count() or 1),
        as_json=as_json,
        output=output,
    )
    raise typer.Exit(guarded(lambda: run(request, stdout=results_console(), stderr=Console(stderr=True))))


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
