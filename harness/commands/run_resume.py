"""The `resume` command: goes on with a run from what its folder says it was asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rich.console import Console

from harness.commands import design
from harness.commands.command_file import read_command
from harness.engine.judging import open_judge
from harness.engine.pool import JudgeFactory
from harness.engine.run_folder import find_run
from verify.source.lock import DEFAULT_TEMPLATES


def run(
    name: str,
    *,
    runs: Path,
    seconds: float | None,
    workers: int | None,
    stdout: Console,
    stderr: Console,
    judges: JudgeFactory = open_judge,
    templates: Path = DEFAULT_TEMPLATES,
) -> int:
    """Go on with a run, or tell a finished one again; returns the exit code of `design`.

    `seconds` and `workers` take the place of what the run was begun with; neither changes its results but for
    where it stops. Raises as `find_run`, `read_command` and `design.run`.
    """
    folder = find_run(name, runs)
    request = read_command(folder)
    request = replace(
        request,
        runs=folder.parent,
        seconds=request.seconds if seconds is None else seconds,
        workers=workers or request.workers,
    )
    return design.run(
        request, stdout=stdout, stderr=stderr, judges=judges, templates=templates, resumed=folder
    )
