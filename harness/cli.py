"""The command line of the search. Results go to stdout, progress to stderr; the exit code says how it ended.

Exit codes: 0 something was admitted, 1 everything was rejected, 2 usage, 3 infrastructure, 5 nothing to
check, 130 interrupted.
"""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from harness.compose.cli import app as compose
from harness.endings import guarded, results_console

app = typer.Typer(
    help="Proposes sequence-mixing mechanisms, has them judged, and keeps those that are admitted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(compose, name="compose")


class DepthChoice(StrEnum):
    """How deep candidates are judged."""

    quick = "quick"
    full = "full"


class AgentChoice(StrEnum):
    """Who proposes."""

    grammar = "grammar"
    openai = "openai"
    replay = "replay"


def main() -> NoReturn:
    """Run the command line; ends the process with its exit code."""
    app(prog_name="harness")
    raise AssertionError("typer ends the process")


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
    agent: Annotated[
        AgentChoice,
        typer.Option(
            help="Who proposes: grammar (offline), openai (any endpoint of OPENAI_BASE_URL, with "
            "OPENAI_API_KEY) or replay (recorded answers)."
        ),
    ] = AgentChoice.grammar,
    model: Annotated[
        str | None, typer.Option(help="Model that openai asks, or whose answers replay.")
    ] = None,
    answers: Annotated[
        Path | None,
        typer.Option(help="Recorded answers: written by openai (default: in --runs), read by replay."),
    ] = None,
    prices: Annotated[
        Path | None,
        typer.Option(help="TOML or JSON: model -> input and output, in US dollars per million tokens."),
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Requests under way at a time.")] = 8,
    max_tokens: Annotated[int, typer.Option(min=1, help="Tokens of an answer at most.")] = 32_000,
) -> None:
    """Generate mechanisms, judge them, and write the admitted ones as folders."""
    from harness.commands.design import DesignRequest, run
    from harness.commands.design_agents import AgentRequest

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
        agent=AgentRequest(
            kind=agent.value,
            model=model,
            answers=answers,
            prices=prices,
            concurrency=concurrency,
            max_tokens=max_tokens,
        ),
    )
    raise typer.Exit(guarded(lambda: run(request, stdout=results_console(), stderr=Console(stderr=True))))
