"""The `design` command."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from harness.agents.protocol import Agent, Skeleton, Task
from harness.commands.design_agents import AgentRequest, check_agent, open_agent
from harness.commands.documents import check_output, write_output
from harness.engine.design import run_design
from harness.engine.judging import open_judge
from harness.engine.pool import JudgeFactory
from harness.engine.settings import Depth, Settings
from harness.engine.skeletons import load_skeletons
from harness.errors import NothingToDo
from harness.report.design_summary import exit_code, print_summary, to_text
from harness.report.progress import progress
from verify.rules import RULES_VERSION
from verify.source.lock import DEFAULT_TEMPLATES


@dataclass(frozen=True, kw_only=True)
class DesignRequest:
    """What the command line asked for."""

    family: str
    budget: int
    admit: int
    seed: int
    out: Path
    runs: Path
    depth: Depth
    workers: int
    as_json: bool
    output: Path | None
    agent: AgentRequest = field(default_factory=AgentRequest)


def run(
    request: DesignRequest,
    *,
    stdout: Console,
    stderr: Console,
    judges: JudgeFactory = open_judge,
    templates: Path = DEFAULT_TEMPLATES,
) -> int:
    """Run the search and print what it found; returns the exit code.

    Raises HarnessError where the run cannot go on. `judges` opens a judge in each process of the pool.
    """
    check_agent(request.agent)
    skeletons = load_skeletons(request.family, templates, free=request.agent.writes_files)
    if not skeletons:
        raise NothingToDo(
            f"{request.family}: expected at least one skeleton, got none. Choose another --family."
        )
    check_output(request.output)
    with open_agent(request.agent, request.runs) as agent, progress(stderr) as observe:
        result = run_design(
            settings_of(request, skeletons, agent),
            Task(skeletons=skeletons, seed=request.seed),
            agent,
            out=request.out,
            runs=request.runs,
            judges=judges,
            workers=request.workers,
            observe=observe,
        )
    write_output(request.output, to_text(result))
    if request.as_json:
        stdout.file.write(to_text(result))
    else:
        print_summary(result, stdout)
    return exit_code(result)


def settings_of(request: DesignRequest, skeletons: tuple[Skeleton, ...], agent: Agent) -> Settings:
    """The settings that the results depend on; where they are written and by how many workers is not among
    them.
    """
    return Settings(
        family=request.family,
        budget=request.budget,
        admit=request.admit,
        seed=request.seed,
        depth=request.depth,
        agent=f"{agent.name}/{agent.version}",
        rules=RULES_VERSION,
        skeletons=tuple((skeleton.name, skeleton.fingerprint) for skeleton in skeletons),
    )
