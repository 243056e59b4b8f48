"""`python -m harness.policies.comparison`: the offline agent under every policy.

The mechanisms that these runs propose were judged once and their verdicts recorded, so that a replay takes
minutes; what the record does not hold is judged, and `--prove` judges one run again without it. Tables go to
stdout, progress to stderr.
"""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from harness.commands.documents import check_output, write_output
from harness.endings import guarded, results_console
from harness.engine.judging import open_fresh_judge, open_judge
from harness.engine.recorded_verdicts import read_verdicts, verdicts_of_runs, write_verdicts
from harness.engine.run_folder import run_folders
from harness.policies.comparison.report import print_report, to_json
from harness.policies.comparison.runs import Comparison, differing_events, run_all, run_one
from harness.policies.opening import POLICIES, open_policy

RECORDED = Path("docs/measured/policies/verdicts.jsonl.gz")

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class DepthChoice(StrEnum):
    """How deep candidates are judged."""

    quick = "quick"
    full = "full"


@app.command()
def main(
    policies: Annotated[str, typer.Option(help="Policies, apart by commas.")] = ",".join(POLICIES),
    seeds: Annotated[int, typer.Option(min=2, help="Runs of each policy.")] = 5,
    budget: Annotated[int, typer.Option(min=1, help="Proposals of each run.")] = 24,
    depth: Annotated[DepthChoice, typer.Option(help="How deep they are judged.")] = DepthChoice.full,
    objective: Annotated[
        str, typer.Option(help="What is best: throughput, learnability, lines.")
    ] = "throughput",
    workers: Annotated[int, typer.Option(min=1, help="Judge processes.")] = 2,
    recorded: Annotated[Path, typer.Option(help="Verdicts that were given before.")] = RECORDED,
    record: Annotated[bool, typer.Option(help="Add the verdicts of these runs to --recorded.")] = False,
    prove: Annotated[
        bool, typer.Option(help="Judge one run again without any record, and compare the two.")
    ] = False,
    runs: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs/policies"),
    output: Annotated[Path | None, typer.Option(help="Also write everything as JSON here.")] = None,
) -> None:
    """Compare search policies at equal budget from paired seeds."""

    def run() -> int:
        check_output(output)
        names = tuple(open_policy(name.strip()).name for name in policies.split(","))
        comparison = Comparison(
            policies=names, seeds=tuple(range(seeds)), budget=budget, depth=depth.value, objective=objective
        )
        if prove:
            return _prove(comparison, runs, recorded, workers)
        judges = partial(open_judge, recorded=recorded.resolve())
        found = list(run_all(comparison, runs, judges=judges, workers=workers, told=_tell))
        if record:
            folders = [folder for home in runs.iterdir() if home.is_dir() for folder in run_folders(home)]
            write_verdicts(recorded, {**read_verdicts(recorded), **verdicts_of_runs(folders)})
        print_report(comparison, found, results_console())
        document = json.dumps(to_json(comparison, found), indent=1, sort_keys=True)
        write_output(output, f"{document}\n")
        return 0

    raise typer.Exit(guarded(run))


def _prove(comparison: Comparison, runs: Path, recorded: Path, workers: int) -> int:
    """The first run of the last policy, once from the record and once judged afresh: the same events?"""
    policy, seed = comparison.policies[-1], comparison.seeds[0]
    judges = partial(open_judge, recorded=recorded.resolve())
    kept = run_one(comparison, policy, seed, runs, judges=judges, workers=workers)
    fresh = run_one(comparison, policy, seed, runs / "proof", judges=open_fresh_judge, workers=workers)
    different = differing_events(kept.run_file.parent, fresh.run_file.parent)
    console = results_console()
    if different:
        console.print(f"{policy}, seed {seed}: the record lies about events {different}.", soft_wrap=True)
        return 1
    judged = sum(entry.verdict is not None for entry in fresh.state.entries)
    console.print(
        f"{policy}, seed {seed}: judged afresh, {judged} mechanisms have the verdicts of the record, and the "
        "two runs the same events.",
        soft_wrap=True,
    )
    return 0


def _tell(message: str) -> None:
    Console(file=sys.stderr).print(Text(message), soft_wrap=True)


if __name__ == "__main__":
    app(prog_name="python -m harness.policies.comparison")
