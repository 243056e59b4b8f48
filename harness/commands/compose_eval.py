"""The `compose eval` command: train a composition small, and set it beside a transformer of its size."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from harness.compose.composition import Composition, parse
from harness.compose.evaluation.baseline import alternating, equal_shape, parameters
from harness.compose.evaluation.byte_codec import VOCAB
from harness.compose.evaluation.comparison import Contender, table, to_json
from harness.compose.evaluation.corpus import corpus_hash, python_version
from harness.compose.evaluation.pretrain import Point, Recipe
from harness.compose.evaluation.training_runs import TrainingRun, trained
from harness.compose.model import ComposedModel
from harness.compose.primitives.alphabet import Alphabet
from harness.compose.shape import ModelShape
from harness.errors import HarnessError, WrongUsage

BUILT_IN_TASKS = ("pydoc_bits_per_byte", "pydoc_continuation")
HEAD_DIM = 32


@dataclass(frozen=True, kw_only=True)
class EvalRequest:
    """What the command line asked for. `models` is where trained models are kept and found again; `alone`
    leaves the baseline and the untrained model out; `limit` takes so many items of each task.
    """

    composition: str
    tasks: tuple[str, ...] = BUILT_IN_TASKS
    width: int = 128
    steps: int = 1000
    batch: int = 8
    context: int = 128
    seed: int = 0
    threads: int = 1
    models: Path = Path("runs/models")
    alone: bool = False
    limit: int | None = None
    as_json: bool = False
    output: Path | None = None


def run_eval(request: EvalRequest, alphabet: Alphabet, *, stdout: Console, stderr: Console) -> int:
    """Train or load the models, run lm-eval on each, print its tables and ours; returns the exit code.

    Raises HarnessError where lm-eval or its data is missing, or training cannot go on.
    """
    _check_lm_eval()
    _check_output(request.output)
    contenders = _evaluate(request, alphabet, stdout=stdout, stderr=stderr)
    text = json.dumps(_document(request, contenders), indent=2, sort_keys=True) + "\n"
    if request.output is not None:
        request.output.write_text(text, encoding="utf-8")
    if request.as_json:
        stdout.file.write(text)
    return 0


def runs_of(request: EvalRequest, alphabet: Alphabet) -> dict[str, TrainingRun]:
    """The composition, and unless it is alone or alternates itself, a transformer of equal size, by name."""
    composition = parse(request.composition)
    shape = shape_of(request.width)
    runs = {composition.run_length(): _training_run(request, composition, shape)}
    other = alternating(len(composition))
    if not request.alone and other != composition:
        size = parameters(composition, alphabet, shape)
        baseline = equal_shape(other, alphabet, shape, size)
        runs["baseline"] = _training_run(request, other, baseline)
    return runs


def shape_of(width: int) -> ModelShape:
    """Sizes of a small model of bytes: heads of HEAD_DIM, and an MLP of 8/3 the width, as SwiGLU usually has.

    Raises WrongUsage for a width that has no such heads.
    """
    if width < HEAD_DIM or width % HEAD_DIM:
        raise WrongUsage(f"--width: expected a multiple of {HEAD_DIM}, got {width}.")
    heads = width // HEAD_DIM
    ffn = round(width / 3) * 8
    return ModelShape(
        d_model=width,
        heads=heads,
        kv_heads=heads,
        head_dim=HEAD_DIM,
        ffn=ffn,
        vocab=VOCAB,
        ssm_state=64,
        ssm_head_dim=HEAD_DIM,
    )


def _training_run(request: EvalRequest, composition: Composition, shape: ModelShape) -> TrainingRun:
    recipe = Recipe(
        steps=request.steps,
        batch=request.batch,
        context=request.context,
        seed=request.seed,
        threads=request.threads,
    )
    return TrainingRun(composition=composition, shape=shape, recipe=recipe)


def _evaluate(
    request: EvalRequest, alphabet: Alphabet, *, stdout: Console, stderr: Console
) -> list[Contender]:
    """Every model's scores, printed as they come and then side by side, unless a document was asked for."""
    from harness.compose.evaluation.evaluate import evaluate, open_tasks  # noqa: PLC0415  lm-eval is optional

    manager = open_tasks(request.tasks)
    contenders = []
    for name, model, folder in _models(request, alphabet, stderr):
        evaluation = evaluate(
            model, request.tasks, manager, window=request.context, limit=request.limit, seed=request.seed
        )
        contenders.append(Contender.of(name, model, folder, evaluation))
        if not request.as_json:
            stdout.print(Text(f"{name}\n{evaluation.table}"), soft_wrap=True)
    if not request.as_json:
        stdout.print(table(contenders))
    return contenders


def _models(
    request: EvalRequest, alphabet: Alphabet, stderr: Console
) -> Iterator[tuple[str, ComposedModel, Path | None]]:
    """(name, model, folder) of the composition, then of what it is compared with."""
    runs = runs_of(request, alphabet)
    for name, run in runs.items():
        model, folder = trained(run, alphabet, request.models, report=_teller(name, run, stderr))
        yield name, model, folder
    if not request.alone:
        yield "untrained", next(iter(runs.values())).initial(alphabet), None


def _teller(name: str, run: TrainingRun, stderr: Console) -> Callable[[Point], None]:
    def tell(point: Point) -> None:
        text = f"{name}: step {point.step} of {run.recipe.steps}, {point.bits_per_byte:.3f} bits per byte"
        stderr.print(Text(text), soft_wrap=True)

    return tell


def _document(request: EvalRequest, contenders: Sequence[Contender]) -> dict[str, Any]:
    settings = asdict(request)
    for name in ("models", "output", "as_json"):
        del settings[name]
    return {
        "request": settings,
        "corpus": {"sha256": corpus_hash(), "python": python_version()},
        "lm_eval": importlib.metadata.version("lm_eval"),
        "models": to_json(contenders),
    }


def _check_lm_eval() -> None:
    if importlib.util.find_spec("lm_eval") is None:
        raise HarnessError(
            "compose eval: expected lm-eval to be installed, got none. "
            "Run: pip install 'aira-harness[compose]'"
        )


def _check_output(path: Path | None) -> None:
    """Find out before training, not after it, that the document cannot be written."""
    if path is not None and (path.is_dir() or not path.parent.is_dir()):
        raise HarnessError(f"--output: expected a file in a folder that exists, got {path}")
