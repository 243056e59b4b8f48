"""The command line of the search. Results go to stdout, progress to stderr; the exit code says how it ended.

Exit codes: 0 something was admitted, 1 everything was rejected, 2 usage, 3 infrastructure or a defect of
ours, 5 nothing to check, 130 interrupted, 141 nobody reads on.
"""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from harness.compose.cli import MOST
from harness.compose.cli import app as compose
from harness.endings import guarded, remarks_console, results_console

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


class PolicyChoice(StrEnum):
    """How the search goes on."""

    by_status = "by-status"
    one_shot = "one-shot"
    random = "random"
    greedy = "greedy"
    evolutionary = "evolutionary"


class ObjectiveChoice(StrEnum):
    """What makes an admitted mechanism better than another."""

    throughput = "throughput"
    learnability = "learnability"
    lines = "lines"


Agent = Annotated[
    AgentChoice,
    typer.Option(
        help="Who proposes: grammar (offline), openai (any endpoint of OPENAI_BASE_URL, with OPENAI_API_KEY) "
        "or replay (recorded answers)."
    ),
]
Model = Annotated[str | None, typer.Option(help="Model that openai asks, or whose answers replay.")]
Answers = Annotated[
    Path | None,
    typer.Option(help="Recorded answers: written by openai (default: in --runs), read by replay."),
]
Prices = Annotated[
    Path | None,
    typer.Option(help="TOML or JSON: model -> input and output, in US dollars per million tokens."),
]
Ensemble = Annotated[
    Path | None,
    typer.Option(help="TOML: several agents that share the run, in place of --agent, --policy and --model."),
]
RunName = Annotated[str, typer.Argument(help="A run's id, as `harness runs` lists it, or its folder.")]
Runs = Annotated[Path, typer.Option(help="Folder of run records.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]


def main() -> NoReturn:
    """Run the command line; ends the process with its exit code."""
    app(prog_name="harness")
    raise AssertionError("typer ends the process")


@app.command()
def design(
    family: Annotated[str, typer.Option(help="Family of skeletons to search, or all of them.")] = "all",
    budget: Annotated[int, typer.Option(min=1, help="Proposals at most.")] = 32,
    admit: Annotated[int, typer.Option(min=1, help="Stop when this many are admitted.")] = 8,
    seed: Annotated[int, typer.Option(min=0, max=MOST, help="Root of every random choice.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder for admitted candidates.")] = Path("candidates"),
    runs: Annotated[
        Path, typer.Option(help="Folder for run records; the same command goes on where it stopped.")
    ] = Path("runs"),
    depth: Annotated[
        DepthChoice, typer.Option(help="quick screens only; full also admits.")
    ] = DepthChoice.full,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Judges (default: one a core, if memory allows).")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document instead of tables.")
    ] = False,
    output: Annotated[Path | None, typer.Option(help="Also write the JSON document to this file.")] = None,
    agent: Agent = AgentChoice.grammar,
    model: Model = None,
    answers: Answers = None,
    prices: Prices = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Requests under way at a time.")] = 8,
    max_tokens: Annotated[int, typer.Option(min=1, help="Tokens of an answer at most.")] = 32_000,
    policy: Annotated[PolicyChoice, typer.Option(help="How the search goes on.")] = PolicyChoice.by_status,
    ensemble: Ensemble = None,
    objective: Annotated[
        ObjectiveChoice, typer.Option(help="What makes an admitted mechanism better than another.")
    ] = ObjectiveChoice.throughput,
    tokens: Annotated[int | None, typer.Option(min=1, help="Tokens of language models at most.")] = None,
    usd: Annotated[float | None, typer.Option(min=0.0, max=1e9, help="US dollars at most.")] = None,
    seconds: Annotated[
        float | None, typer.Option(min=0.0, help="Seconds of work on the run at most.")
    ] = None,
) -> None:
    """Generate mechanisms, judge them, and write the admitted ones as folders.

    A budget is looked at between rounds of eight proposals: a round that was begun is finished.
    """
    from harness.commands.design import run
    from harness.commands.design_agents import AgentRequest
    from harness.commands.design_request import DesignRequest
    from harness.commands.ensemble import agents_of

    alone = AgentRequest(
        kind=agent.value,
        policy=policy.value,
        model=model,
        answers=answers,
        prices=prices,
        concurrency=concurrency,
        max_tokens=max_tokens,
    )
    request = partial(
        DesignRequest,
        family=family,
        budget=budget,
        admit=admit,
        seed=seed,
        out=out,
        runs=runs,
        depth=depth.value,
        workers=workers,
        as_json=as_json,
        output=output,
        objective=objective.value,
        tokens=tokens,
        usd=usd,
        seconds=seconds,
    )
    raise typer.Exit(
        guarded(
            lambda: run(
                request(agents=agents_of(alone, ensemble)),
                stdout=results_console(),
                stderr=remarks_console(),
            )
        )
    )


@app.command()
def resume(
    run: RunName,
    runs: Runs = Path("runs"),
    seconds: Annotated[
        float | None, typer.Option(min=0.0, help="Seconds of work on the run at most, in all.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Judge processes.")] = None,
) -> None:
    """Go on with a design run that was interrupted or killed, from its folder alone."""
    from harness.commands import run_resume

    stdout, stderr = results_console(), remarks_console()
    raise typer.Exit(
        guarded(
            lambda: run_resume.run(
                run, runs=runs, seconds=seconds, workers=workers, stdout=stdout, stderr=stderr
            )
        )
    )


@app.command(name="runs")
def list_runs(runs: Runs = Path("runs"), as_json: AsJson = False) -> None:
    """List design runs."""
    from harness.commands import run_list

    stdout, stderr = results_console(), remarks_console()
    raise typer.Exit(guarded(lambda: run_list.run(runs=runs, as_json=as_json, stdout=stdout, stderr=stderr)))


@app.command()
def show(run: RunName, runs: Runs = Path("runs"), as_json: AsJson = False) -> None:
    """Show a design run: which candidate grew from which, verdicts, costs."""
    from harness.commands import run_show

    raise typer.Exit(guarded(lambda: run_show.run(run, runs=runs, as_json=as_json, stdout=results_console())))


@app.command()
def export(
    run: RunName,
    runs: Runs = Path("runs"),
    output: Annotated[Path | None, typer.Option(help="File to write (default: stdout).")] = None,
) -> None:
    """Write a design run's events as JSONL, sources in full."""
    from harness.commands import run_export

    raise typer.Exit(guarded(lambda: run_export.run(run, runs=runs, output=output, stdout=results_console())))
