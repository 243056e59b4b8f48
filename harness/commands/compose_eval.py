"""The `compose eval` command: train a composition small, and set it beside a transformer of its size."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from harness.commands.documents import check_output, write_output
from harness.compose.composition import ATTENTION, MLP, alternating, parse
from harness.compose.corpus import corpus_hash, python_version
from harness.compose.counts import parameters
from harness.compose.evaluation.baseline import equal_shape
from harness.compose.evaluation.byte_codec import VOCAB
from harness.compose.evaluation.comparison import Contender, table, to_json
from harness.compose.evaluation.pretrain import Point, Recipe
from harness.compose.evaluation.saved import is_saved_model, load_model, read_description
from harness.compose.evaluation.training_runs import TrainingRun, trained
from harness.compose.extras import expect
from harness.compose.model import ComposedModel
from harness.compose.primitives.alphabet import Alphabet, resolve
from harness.compose.shape import ModelShape
from harness.errors import HarnessError, WrongUsage

BUILT_IN_TASKS = ("pydoc_bits_per_byte", "pydoc_continuation")
HEAD_DIM = 32


@dataclass(frozen=True, kw_only=True)
class EvalRequest:
    """What the command line asked for.

    composition: tokens or runs, to be trained with the sizes and the recipe here; or the folder of a model
    that was saved, which brings its own.
    models: where trained models are kept and found again. alone: without baseline and untrained model.
    limit: items of each task at most.
    """

    composition: str
    tasks: tuple[str, ...] = BUILT_IN_TASKS
    width: int = 128
    steps: int = 500
    batch: int = 8
    context: int = 128
    seed: int = 0
    threads: int = 1
    candidates: Path = Path("candidates")
    models: Path = Path("runs/models")
    alone: bool = False
    limit: int | None = None
    as_json: bool = False
    output: Path | None = None


def run_eval(request: EvalRequest, *, stdout: Console, stderr: Console) -> int:
    """Train or load the models, run lm-eval on each, print its tables and ours; returns the exit code.

    Raises HarnessError where lm-eval or its data is missing, or training cannot go on.
    """
    expect("lm_eval", "eval")
    check_output(request.output)
    contenders = _evaluate(request, stdout=stdout, stderr=stderr)
    text = json.dumps(_document(request, contenders), indent=2, sort_keys=True) + "\n"
    write_output(request.output, text)
    if request.as_json:
        stdout.file.write(text)
    return 0


def requested_run(request: EvalRequest) -> tuple[TrainingRun, Path | None]:
    """What was asked for as a training run, and the folder it is saved in where one was named.

    Raises HarnessError for a saved model that learned another corpus than the built-in tasks are from.
    """
    recipe = Recipe(
        steps=request.steps,
        batch=request.batch,
        context=request.context,
        seed=request.seed,
        threads=request.threads,
    )
    folder = Path(request.composition)
    if not is_saved_model(folder):
        composition = parse(request.composition)
        return TrainingRun(composition=composition, shape=shape_of(request.width), recipe=recipe), None
    found = read_description(folder)
    if found.training is not None:
        recipe = found.training.recipe
        if found.training.corpus != corpus_hash() and set(request.tasks) & set(BUILT_IN_TASKS):
            raise HarnessError(
                f"{folder}: expected a model that learned the documentation of Python {python_version()}, "
                f"got Python {found.training.python}'s, which may contain what the built-in tasks hold out. "
                "Use that Python, or other tasks."
            )
    return TrainingRun(composition=found.composition, shape=found.shape, recipe=recipe), folder


def baseline_run(run: TrainingRun, alphabet: Alphabet) -> TrainingRun:
    """The transformer as deep and of as many parameters, trained alike. Raises HarnessError if there is none
    within 3 %.
    """
    other = alternating(len(run.composition))
    shape = equal_shape(other, alphabet, run.shape, parameters(run.composition, alphabet, run.shape))
    return replace(run, composition=other, shape=shape)


def shape_of(width: int) -> ModelShape:
    """Sizes of a small model of bytes: heads of HEAD_DIM, and an MLP of 8/3 the width, as SwiGLU usually has.

    Raises WrongUsage for a width that has no such heads.
    """
    if width < HEAD_DIM or width % HEAD_DIM:
        raise WrongUsage(f"--width: expected a multiple of {HEAD_DIM}, got {width}.")
    heads = width // HEAD_DIM
    return ModelShape(
        d_model=width,
        heads=heads,
        kv_heads=heads,
        head_dim=HEAD_DIM,
        ffn=round(width / 3) * 8,
        vocab=VOCAB,
        ssm_state=64,
        ssm_head_dim=HEAD_DIM,
    )


def _evaluate(request: EvalRequest, *, stdout: Console, stderr: Console) -> list[Contender]:
    """Every model's scores, printed as they come and then side by side, unless a document was asked for."""
    from harness.compose.evaluation.evaluate import evaluate, open_tasks  # noqa: PLC0415  lm-eval is optional

    run, folder = requested_run(request)
    manager = open_tasks(request.tasks)
    contenders = []
    for name, model, saved in _models(run, folder, request, stderr):
        window = run.recipe.context
        evaluation = evaluate(
            model, request.tasks, manager, window=window, limit=request.limit, seed=request.seed
        )
        contenders.append(Contender.of(name, model, saved, evaluation))
        if not request.as_json:
            stdout.print(Text(f"{name}\n{evaluation.table}"), soft_wrap=True)
    if not request.as_json:
        stdout.print(table(contenders))
    return contenders


def _models(
    run: TrainingRun, folder: Path | None, request: EvalRequest, stderr: Console
) -> Iterator[tuple[str, ComposedModel, Path | None]]:
    """(name, model, folder) of what was asked for, then of what it is compared with."""
    alphabet = resolve([*dict.fromkeys((*run.composition.tokens, ATTENTION, MLP))], request.candidates)
    runs = {"composition": run}
    if not request.alone and run.composition != alternating(len(run.composition)):
        runs["baseline"] = baseline_run(run, alphabet)  # now, for there may be none
    for name, each in runs.items():
        if each is run and folder is not None:
            yield name, load_model(folder, alphabet)[0], folder
        else:
            report, waiting = _teller(name, each, stderr), _waiting(name, stderr)
            yield name, *trained(each, alphabet, request.models, report=report, waiting=waiting)
    if not request.alone:
        yield "untrained", run.initial(alphabet), None


def _teller(name: str, run: TrainingRun, stderr: Console) -> Callable[[Point], None]:
    def tell(point: Point) -> None:
        text = f"{name}: step {point.step} of {run.recipe.steps}, {point.bits_per_byte:.3f} bits per byte"
        stderr.print(Text(text), soft_wrap=True)

    return tell


def _waiting(name: str, stderr: Console) -> Callable[[Path], None]:
    def tell(folder: Path) -> None:
        text = f"{name}: another run is training it in {folder}; waiting for that one to end"
        stderr.print(Text(text), soft_wrap=True)

    return tell


def _document(request: EvalRequest, contenders: Sequence[Contender]) -> dict[str, Any]:
    return {
        "request": {
            "composition": request.composition,
            "tasks": list(request.tasks),
            "limit": request.limit,
            "seed": request.seed,
        },
        "corpus": {"sha256": corpus_hash(), "python": python_version()},
        "lm_eval": importlib.metadata.version("lm_eval"),
        "models": to_json(contenders),
    }
