"""`python -m harness.compose.regret`: a space of 64 compositions evaluated whole, and what searchers make of it.

Tables go to stdout, progress to stderr. Evaluations are kept in the cache, so the same command again prints
the same tables at once, and one that was stopped goes on.
"""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from harness.compose.engines.cached import Evaluations
from harness.compose.engines.worker import load
from harness.compose.halving import parse_rungs
from harness.compose.primitives.alphabet import resolve
from harness.compose.regret.ranking import agreements
from harness.compose.regret.replay import EVALUATIONS, REPLAYS, SAMPLERS, WIDTH, replays
from harness.compose.regret.report import print_report, to_json
from harness.compose.regret.table import measure
from harness.compose.study_settings import StudySettings

_WIDTH = 120
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class EngineChoice(StrEnum):
    """Where evaluations run."""

    local = "local"
    ray = "ray"


@app.command()
def main(
    task: Annotated[str, typer.Option(help="Proxy task.")],
    rungs: Annotated[
        str, typer.Option(help="STEPS:SEEDS of each rung, e.g. 300:1,600:1; the last is the truth.")
    ],
    preset: Annotated[str, typer.Option(help="Difficulty.")] = "tiny",
    alphabet: Annotated[str, typer.Option(help="Primitives, apart by commas.")] = "mA,M",
    layers: Annotated[int, typer.Option(min=1, help="Layers of every composition.")] = 6,
    seeds: Annotated[int, typer.Option(min=2, help="Seeds per composition on the last rung.")] = 4,
    seed: Annotated[int, typer.Option(min=0, help="Root of every random choice.")] = 0,
    evaluations: Annotated[int, typer.Option(min=1, help="Evaluations of each searcher.")] = EVALUATIONS,
    count: Annotated[int, typer.Option("--replays", min=2, help="Replays of each searcher.")] = REPLAYS,
    engine: Annotated[EngineChoice, typer.Option(help="Where evaluations run.")] = EngineChoice.local,
    workers: Annotated[int, typer.Option(min=1, help="Evaluations at once.")] = 1,
    candidates: Annotated[Path, typer.Option(help="Folder of admitted mechanisms.")] = Path("candidates"),
    evaluate: Annotated[
        str, typer.Option(help="MODULE:FUNCTION that evaluates a request.")
    ] = "harness.compose.proxies.training:evaluate",
    cache: Annotated[Path, typer.Option(help="File of known results.")] = Path("runs/compose/results.sqlite"),
    output: Annotated[Path | None, typer.Option(help="Also write everything as JSON to this file.")] = None,
) -> None:
    """Evaluate a small space whole; print regret of the searchers and rank correlations of the rungs."""
    primitives = resolve(alphabet.split(","), candidates)
    settings = StudySettings(
        alphabet=primitives.tokens,
        identities=tuple((one.token, one.identity) for one in primitives.primitives),
        layers=layers,
        budget=len(primitives.tokens) ** layers,
        sampler="exhaustive",
        seed=seed,
        task=task,
        preset=preset,
        rungs=parse_rungs(rungs),
    )
    with _engine(engine, load(evaluate), workers) as running, _cache(cache) as known:
        table = measure(settings, Evaluations(running, known), seeds=seeds, told=_tell)
    regrets = replays(table, samplers=SAMPLERS, evaluations=evaluations, width=WIDTH, count=count)
    lines = agreements(table)
    print_report(table, regrets, lines, Console(width=None if sys.stdout.isatty() else _WIDTH))
    if output is not None:
        document = to_json(table, regrets, lines)
        output.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")
