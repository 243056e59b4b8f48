"""Train a model of bytes on the built-in corpus: AdamW, warm-up and cosine, a fixed number of steps.

Step s draws its batch from the seed and s alone, and checkpoints are written between steps, so a run that was
killed and taken up again ends in the same bits as one that was not (same PyTorch, same threads, a CPU).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from harness.compose.corpus import corpus_hash, python_version, sections
from harness.compose.evaluation.byte_codec import START, encode
from harness.compose.evaluation.checkpoint import Checkpoint, damaged, load_checkpoint, save_checkpoint
from harness.errors import HarnessError, WrongUsage
from verify.seeds import derive


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that training hangs on, but the model and the text.

    `batch` sequences of `context` bytes a step; the learning rate rises over `warmup` steps and falls to a
    tenth along a cosine. Matrices decay by `weight_decay`, vectors do not. Every `interval` steps there is a
    report and a checkpoint. Sums of floats depend on `threads`, so results do.
    """

    steps: int
    batch: int = 8
    context: int = 128
    learning_rate: float = 3e-3
    warmup: int = 50
    weight_decay: float = 0.1
    clip: float = 1.0
    interval: int = 25
    threads: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "context", "interval", "threads"):
            if getattr(self, name) < 1:
                raise WrongUsage(f"{name}: expected one or more, got {getattr(self, name)}.")

    def rate(self, step: int) -> float:
        """The learning rate of step `step`, counted from 0."""
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.learning_rate * (0.55 + 0.45 * math.cos(math.pi * done))


@dataclass(frozen=True, kw_only=True)
class Point:
    """After `step` steps: the mean training loss since the point before, in bits per byte."""

    step: int
    bits_per_byte: float


@dataclass(frozen=True, kw_only=True)
class TrainingRecord:
    """How a model came to be. `seconds` is a measurement (of the last uninterrupted stretch) and does not
    take part in comparisons.
    """

    recipe: Recipe
    corpus: str
    python: str
    torch: str
    points: tuple[Point, ...]
    seconds: float = field(compare=False)

    @classmethod
    def from_json(cls, values: dict[str, object]) -> TrainingRecord:
        """What `asdict` made. Raises KeyError or TypeError for anything else."""
        recipe, points = values["recipe"], values["points"]
        if not isinstance(recipe, dict) or not isinstance(points, list | tuple):
            raise TypeError("expected a recipe and points")
        return cls(**{**values, "recipe": Recipe(**recipe), "points": tuple(Point(**p) for p in points)})  # type: ignore[arg-type]


Report = Callable[[Point], None]


def pretrain(
    model: nn.Module,
    recipe: Recipe,
    *,
    name: str,
    checkpoint: Path | None = None,
    report: Report = lambda _: None,
) -> TrainingRecord:
    """Train `model`, ids (B, T) to logits (B, T, VOCAB), in place, on the device where it is.

    `name` says which model it is, sizes and seed of its initialisation included: a `checkpoint` file of
    another name, recipe or corpus is refused. Raises HarnessError for that, and where the loss is not finite.
    """
    run = _Run(model, recipe, name)
    if checkpoint is not None and checkpoint.exists():
        run.resume(checkpoint)
    begin = time.perf_counter()
    with _threads(recipe.threads):
        while run.step < recipe.steps:
            point = run.advance(min(recipe.interval, recipe.steps - run.step))
            report(point)
            if checkpoint is not None:
                save_checkpoint(checkpoint, run.state())
    return TrainingRecord(
        recipe=recipe,
        corpus=corpus_hash(),
        python=python_version(),
        torch=torch.__version__,
        points=tuple(run.points),
        seconds=time.perf_counter() - begin,
    )


def batch_at(recipe: Recipe, step: int) -> torch.Tensor:
    """Ids (batch, context + 1) of step `step`: inputs and, one to the right, what to predict."""
    stream = training_stream()
    generator = torch.Generator().manual_seed(derive(recipe.seed, "pretrain", "batch", step) >> 1)
    starts = torch.randint(len(stream) - recipe.context, (recipe.batch,), generator=generator)
    return stream[starts[:, None] + torch.arange(recipe.context + 1)]


@cache
def training_stream() -> torch.Tensor:
    """All training sections after one another, each behind a START: int64 (bytes,)."""
    ids = [token for section in sections("train") for token in (START, *encode(section.text))]
    return torch.tensor(ids)


class _Run:
    """A model under training, at a step."""

    def __init__(self, model: nn.Module, recipe: Recipe, name: str) -> None:
        self.model, self.recipe = model, recipe
        self.key = json.dumps({"name": name, "recipe": asdict(recipe), "corpus": corpus_hash()})
        self.parameters = dict(model.named_parameters())
        self.device = next(iter(self.parameters.values())).device
        self.optimizer = _optimizer(self.parameters, recipe)
        self.step = 0
        self.points: list[Point] = []

    def advance(self, steps: int) -> Point:
        """Take some steps; their mean loss."""
        self.model.train()
        losses = [self._take_step(step) for step in range(self.step, self.step + steps)]
        self.step += steps
        mean = float(torch.stack(losses).double().mean())
        if not math.isfinite(mean):
            raise HarnessError(
                f"training: expected finite losses, got {mean} within {steps} steps before step {self.step}. "
                f"Lower the learning rate ({self.recipe.learning_rate})."
            )
        self.points.append(Point(step=self.step, bits_per_byte=mean / math.log(2)))
        return self.points[-1]

    def _take_step(self, step: int) -> torch.Tensor:
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.rate(step)
        ids = batch_at(self.recipe, step).to(self.device)
        logits = self.model(ids[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1).float(), ids[:, 1:].flatten())
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.parameters.values(), self.recipe.clip)
        self.optimizer.step()
        return torch.where(norm.isfinite(), loss.detach(), math.nan)  # clipped to nothing, it leaves nan

    def state(self) -> Checkpoint:
        """All that the next step hangs on."""
        tensors = {f"model.{name}": value.detach() for name, value in self.parameters.items()}
        for name, value in self.parameters.items():
            for kind, state in self.optimizer.state[value].items():
                tensors[f"optimizer.{kind}.{name}"] = state
        points = tuple((point.step, point.bits_per_byte) for point in self.points)
        return Checkpoint(key=self.key, step=self.step, points=points, tensors=tensors)

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint. Raises HarnessError if it is no checkpoint of this run."""
        saved = load_checkpoint(path, key=self.key)
        try:
            for name, value in self.parameters.items():
                value.data.copy_(saved.tensors[f"model.{name}"])
                self.optimizer.state[value] = {
                    kind: saved.tensors[f"optimizer.{kind}.{name}"].to(value.device)
                    for kind in ("step", "exp_avg", "exp_avg_sq")
                }
        except (KeyError, RuntimeError) as error:  # a name that is missing, a size that is another
            raise damaged(path, f"no tensors of this model ({error})") from None
        self.step = saved.step
        self.points = [Point(step=step, bits_per_byte=bits) for step, bits in saved.points]


def _optimizer(parameters: dict[str, nn.Parameter], recipe: Recipe) -> torch.optim.AdamW:
    matrices = [value for value in parameters.values() if value.dim() >= 2]
    vectors = [value for value in parameters.values() if value.dim() < 2]
    return torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": recipe.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ],
        lr=recipe.learning_rate,
        betas=(0.9, 0.95),
        fused=True,
    )


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
