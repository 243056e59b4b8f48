"""The command line of `harness compose`. Every command loads what it needs when it runs.

Exit codes: 0 ok, 1 a mechanism must not be composed, 2 usage, 3 infrastructure, 5 nothing to do, 130
interrupted.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from harness.compose.extras import extra
from harness.endings import guarded, remarks_console, results_console

app = typer.Typer(
    help="Searches sequences of primitives, extrapolates the best, and lets others evaluate it.",
    no_args_is_help=True,
)

Runs = Annotated[Path, typer.Option(help="Folder of studies, their shared results, and checkpoints.")]
Candidates = Annotated[Path, typer.Option(help="Folder of admitted mechanisms.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]
Output = Annotated[Path | None, typer.Option(help="Also write the JSON document to this file.")]

MOST = 2**63 - 1
"""No number that counts something is larger, and no seed: PyTorch takes 64 bits with a sign."""
MOST_PROCESSORS = 1024
"""Threads and worker processes: all are started."""
MOST_WIDTH = 65_536
"""Four times that of the widest models there are."""


class Sampler(StrEnum):
    """Who proposes."""

    random = "random"
    tpe = "tpe"
    evolution = "evolution"
    exhaustive = "exhaustive"


class StudyKind(StrEnum):
    """How much beside the search."""

    quick = "quick"
    full = "full"


class EngineName(StrEnum):
    """Where evaluations run."""

    local = "local"
    ray = "ray"


class MethodName(StrEnum):
    """How layers are added."""

    stretch = "stretch"
    stack = "stack"


@app.command()
def run(
    primitives: Annotated[
        str,
        typer.Option(
            help="By commas: mA, M, Mb, ids of mechanisms; `families` is the quickest admitted one of each "
            "family, `admitted` every one."
        ),
    ] = "mA,M,Mb,families",
    layers: Annotated[int, typer.Option(min=1, max=64, help="Layers of a composition.")] = 16,
    budget: Annotated[int, typer.Option(min=1, max=MOST, help="Trials at most.")] = 32,
    sampler: Annotated[Sampler, typer.Option(help="Who proposes.")] = Sampler.tpe,
    seed: Annotated[int, typer.Option(min=0, max=MOST, help="Root of every random choice.")] = 0,
    task: Annotated[str, typer.Option(help="Proxy to search on.")] = "in-context-recall",
    preset: Annotated[str, typer.Option(help="Sizes of the proxies: tiny, small or mad.")] = "tiny",
    rungs: Annotated[
        str | None, typer.Option(help="Successive halving, STEPS:SEEDS by commas (default: the preset's).")
    ] = None,
    others: Annotated[
        str, typer.Option(help="Tasks that the finalists are also scored on, by commas.")
    ] = "selective-copying,memorization",
    study: Annotated[
        StudyKind, typer.Option(help="full adds controls: random and TPE at equal cost.")
    ] = StudyKind.quick,
    engine: Annotated[EngineName, typer.Option(help="Where evaluations run.")] = EngineName.local,
    workers: Annotated[
        int | None, typer.Option(min=1, max=MOST_PROCESSORS, help="Worker processes (default: the cores).")
    ] = None,
    max_parameters: Annotated[
        int | None, typer.Option(help="Refuse larger compositions, at the preset.")
    ] = None,
    max_state_bytes: Annotated[
        int | None, typer.Option(help="The same for state after 1,024 tokens.")
    ] = None,
    max_flops: Annotated[int | None, typer.Option(help="The same for a forward pass over them.")] = None,
    candidates: Candidates = Path("candidates"),
    runs: Runs = Path("runs/compose"),
    as_json: AsJson = False,
    output: Output = None,
) -> None:
    """Search, re-test the best, read the final split once, extrapolate. The same command goes on."""

    def command() -> int:
        from harness.commands.compose_run import ComposeRequest
        from harness.commands.compose_run import run as run_compose
        from harness.compose.limits import Limits

        limits = Limits(parameters=max_parameters, state_bytes=max_state_bytes, flops=max_flops)
        request = ComposeRequest(
            primitives=_listed(primitives),
            layers=layers,
            budget=budget,
            sampler=sampler.value,
            seed=seed,
            task=task,
            preset=preset,
            rungs=rungs,
            others=_listed(others),
            study=study.value,
            engine=engine.value,
            workers=workers or os.cpu_count() or 1,
            limits=None if limits == Limits() else limits,
            candidates=candidates,
            runs=runs,
            as_json=as_json,
            output=output,
        )
        return run_compose(request, stdout=results_console(), stderr=remarks_console())

    _finish(command)


@app.command()
def show(
    study: Annotated[str, typer.Argument(help="A study's folder, or its id under --runs.")],
    runs: Runs = Path("runs/compose"),
    best: Annotated[int, typer.Option(min=1, max=MOST, help="Trials to show, the best first.")] = 16,
    as_json: AsJson = False,
) -> None:
    """Trials, re-tests and costs of a study, also while it runs."""

    def command() -> int:
        from harness.commands.compose_show import run as run_show

        return run_show(study, runs=runs, best=best, as_json=as_json, stdout=results_console())

    _finish(command)


@app.command()
def extrapolate(
    what: Annotated[str, typer.Argument(help="A study, a baseline's name, or a composition.")],
    target: Annotated[list[str], typer.Option(help="350m, 1b or 3b; may be given several times.")],
    method: Annotated[MethodName, typer.Option(help="How layers are added.")] = MethodName.stretch,
    runs: Runs = Path("runs/compose"),
    candidates: Candidates = Path("candidates"),
    out: Annotated[
        Path | None, typer.Option(help="Folder for `extrapolated/` (default: the study's).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write the configuration of a large model, with counts that a build on the meta device confirms."""

    def command() -> int:
        from harness.commands.compose_extrapolate import run as run_extrapolate

        return run_extrapolate(
            what,
            targets=target,
            method=method.value,
            runs=runs,
            candidates=candidates,
            out=out,
            as_json=as_json,
            stdout=results_console(),
        )

    _finish(command)


@app.command("eval")
def evaluate(
    what: Annotated[
        str, typer.Argument(help="A study, a composition to be trained, or the folder of a saved model.")
    ],
    tasks: Annotated[
        str, typer.Option(help="lm-eval tasks by commas; the built-in ones need no network.")
    ] = ("pydoc_bits_per_byte,pydoc_continuation"),
    steps: Annotated[int, typer.Option(min=1, max=MOST, help="Training steps of each model.")] = 500,
    width: Annotated[int, typer.Option(min=1, max=MOST_WIDTH, help="d_model, a multiple of 32.")] = 128,
    seed: Annotated[int, typer.Option(min=0, max=MOST, help="Root of every random choice.")] = 0,
    threads: Annotated[
        int, typer.Option(min=1, max=MOST_PROCESSORS, help="PyTorch threads; results depend on them.")
    ] = 1,
    limit: Annotated[int | None, typer.Option(min=1, max=MOST, help="Items of each task at most.")] = None,
    alone: Annotated[
        bool, typer.Option("--alone", help="Without the plain transformer and an untrained model.")
    ] = False,
    candidates: Candidates = Path("candidates"),
    runs: Runs = Path("runs/compose"),
    models: Annotated[Path, typer.Option(help="Folder of trained models.")] = Path("runs/models"),
    as_json: AsJson = False,
    output: Output = None,
) -> None:
    """Train the composition as a small model of bytes and run lm-eval on it, beside a plain transformer."""

    def command() -> int:
        from harness.commands.compose_eval import EvalRequest, run_eval

        request = EvalRequest(
            composition=_composition(what, runs, candidates),
            tasks=_listed(tasks),
            width=width,
            steps=steps,
            seed=seed,
            threads=threads,
            candidates=candidates,
            models=models,
            alone=alone,
            limit=limit,
            as_json=as_json,
            output=output,
        )
        return run_eval(request, stdout=results_console(), stderr=remarks_console())

    _finish(command, extra_name="eval")


def _finish(command: Callable[[], int], *, extra_name: str = "compose") -> NoReturn:
    """Run a command and end with its exit code; a library that it lacks is named with its extra."""

    def equipped() -> int:
        with extra(extra_name):
            return command()

    raise typer.Exit(guarded(equipped))


def _composition(what: str, runs: Path, candidates: Path) -> str:
    """The best composition where `what` is a study, else `what` itself: a saved model or a composition.

    Raises WrongUsage for what is none of these.
    """
    from harness.compose.composition import parse
    from harness.compose.evaluation.saved import is_saved_model
    from harness.compose.primitives.alphabet import resolve
    from harness.compose.study_folder import read_study
    from harness.errors import WrongUsage

    try:
        return str(read_study(what, runs).best())
    except WrongUsage as no_study:
        if is_saved_model(Path(what)):
            return what
        try:
            resolve(sorted(set(parse(what).tokens)), candidates)
        except WrongUsage as no_composition:
            raise WrongUsage(
                f"{no_study} Nor is it the folder of a saved model or a composition: {no_composition}"
            ) from None
    return what


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
