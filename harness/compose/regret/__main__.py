"""`python -m harness.compose.regret`: every composition of a small space evaluated, and what searchers find.

Tables go to stdout, progress to stderr. Results are kept, so the same command again prints the same tables at
once, and one that was stopped goes on.
"""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from harness.compose.engines.cached import Evaluations
from harness.compose.engines.opening import open_engine, open_results
from harness.compose.halving import parse_rungs
from harness.compose.primitives.alphabet import resolve
from harness.compose.proxies.presets import preset_of
from harness.compose.regret.ranking import agreements
from harness.compose.regret.replay import EVALUATIONS, REPLAYS, SAMPLERS, WIDTH, replays
from harness.compose.regret.report import print_report, to_json
from harness.compose.regret.table import measure
from harness.compose.study_settings import StudySettings
from harness.endings import guarded, remarks_console, results_console
from harness.errors import WrongUsage

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class EngineChoice(StrEnum):
    """Where evaluations run."""

    local = "local"
    ray = "ray"


@app.command()
def main(
    task: Annotated[str, typer.Option(help="Proxy task.")] = "in-context-recall",
    preset: Annotated[str, typer.Option(help="Difficulty.")] = "tiny",
    rungs: Annotated[
        str | None,
        typer.Option(help="STEPS:SEEDS apart by commas; the last is the truth (default: the preset's)."),
    ] = None,
    alphabet: Annotated[str, typer.Option(help="Primitives, apart by commas.")] = "mA,M",
    layers: Annotated[int, typer.Option(min=1, help="Layers of every composition.")] = 6,
    seeds: Annotated[int, typer.Option(min=2, help="Seeds per composition on the last rung.")] = 4,
    seed: Annotated[int, typer.Option(min=0, help="Root of every random choice.")] = 0,
    evaluations: Annotated[int, typer.Option(min=1, help="Evaluations of each searcher.")] = EVALUATIONS,
    count: Annotated[int, typer.Option("--replays", min=2, help="Replays of each searcher.")] = REPLAYS,
    engine: Annotated[EngineChoice, typer.Option(help="Where evaluations run.")] = EngineChoice.local,
    workers: Annotated[int, typer.Option(min=1, help="Evaluations at once.")] = 1,
    candidates: Annotated[Path, typer.Option(help="Folder of admitted mechanisms.")] = Path("candidates"),
    runs: Annotated[Path, typer.Option(help="Folder for results and checkpoints.")] = Path("runs/compose"),
    output: Annotated[Path | None, typer.Option(help="Also write everything as JSON here.")] = None,
) -> None:
    """Evaluate a small space whole; print regret of the searchers and rank correlations of the rungs."""

    def run() -> int:
        settings = _settings(alphabet, candidates, layers, seed, task, preset, rungs)
        if output is not None and not output.parent.is_dir():
            raise WrongUsage(f"--output: expected a file in a folder that exists, got {output}.")
        with (
            open_engine(engine.value, workers=workers, candidates=candidates, runs=runs) as running,
            open_results(runs) as known,
        ):
            table = measure(settings, Evaluations(running, known), seeds=seeds, told=_tell)
        regrets = replays(table, samplers=SAMPLERS, evaluations=evaluations, width=WIDTH, count=count)
        lines = agreements(table)
        print_report(table, regrets, lines, results_console())
        if output is not None:
            document = to_json(table, regrets, lines)
            output.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        return 0

    raise typer.Exit(guarded(run))


def _settings(
    alphabet: str, candidates: Path, layers: int, seed: int, task: str, preset: str, rungs: str | None
) -> StudySettings:
    primitives = resolve(alphabet.split(","), candidates)
    sizes = preset_of(task, preset)
    return StudySettings(
        alphabet=primitives.tokens,
        identities=tuple((one.token, one.identity) for one in primitives.primitives),
        layers=layers,
        budget=len(primitives.tokens) ** layers,
        sampler="exhaustive",
        seed=seed,
        task=task,
        preset=preset,
        rungs=parse_rungs(rungs or f"{sizes.rung}:1,{sizes.steps}:2"),
        transition=sizes.rung,
        data=tuple(sorted(sizes.proxy.identities().items())),
    )


def _tell(done: int, total: int) -> None:
    """A line on stderr for every tenth of the work."""
    if done * 10 // total > (done - 1) * 10 // total:
        remarks_console().print(f"{done} of {total} evaluations", highlight=False)


if __name__ == "__main__":
    app(prog_name="python -m harness.compose.regret")
