"""The `design` command."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from rich.console import Console

from harness.agents.protocol import Task
from harness.commands.command_file import write_command
from harness.commands.design_agents import check_agent, open_members
from harness.commands.design_request import DesignRequest
from harness.commands.documents import check_output, write_output
from harness.engine.design import run_design
from harness.engine.judging import open_judge
from harness.engine.machine import judge_processes
from harness.engine.members import Member
from harness.engine.pool import JudgeFactory
from harness.engine.settings import Settings
from harness.engine.skeletons import load_skeletons
from harness.errors import NothingToDo
from harness.objectives.opening import open_objective
from harness.report.design_summary import exit_code, print_summary, to_text
from harness.report.progress import progress
from verify.source.lock import DEFAULT_TEMPLATES


def run(
    request: DesignRequest,
    *,
    stdout: Console,
    stderr: Console,
    judges: JudgeFactory = open_judge,
    templates: Path = DEFAULT_TEMPLATES,
    resumed: Path | None = None,
) -> int:
    """Run the search and print what it found; returns the exit code.

    Raises HarnessError where the run cannot go on. `judges` opens a judge in each process of the pool;
    `resumed` is the folder of the run to go on with, which must be of these settings.
    """
    for agent in request.agents:
        check_agent(agent)
    free = any(agent.writes_files for agent in request.agents)
    skeletons = load_skeletons(request.family, templates, free=free)
    if not skeletons:
        raise NothingToDo(
            f"{request.family}: expected at least one skeleton, got none. Choose another --family."
        )
    check_output(request.output)
    workers = request.workers or judge_processes()
    objective = open_objective(request.objective, runs=request.runs, workers=workers)
    with _members(request) as members, progress(stderr) as observe:
        task = Task(skeletons=skeletons, seed=request.seed)
        settings = Settings.of(
            task,
            members,
            objective,
            family=request.family,
            budget=request.budget,
            admit=request.admit,
            depth=request.depth,
            tokens=request.tokens,
            usd=request.usd,
        )
        result = run_design(
            settings,
            task,
            members,
            objective=objective,
            out=request.out,
            runs=request.runs,
            judges=judges,
            workers=workers,
            observe=observe,
            seconds=request.seconds,
            resumed=resumed,
            held=partial(write_command, request),
        )
    write_output(request.output, to_text(result))
    if request.as_json:
        stdout.file.write(to_text(result))
    else:
        print_summary(result, stdout)
    return exit_code(result)


def _members(request: DesignRequest) -> AbstractContextManager[tuple[Member, ...]]:
    return open_members(request.agents, request.runs, priced=request.usd is not None)
