"""Named sizes of every proxy: task, model, training, curriculum.

`tiny` is for one CPU core and seconds, `small` for minutes, `mad` has the sizes of arXiv 2403.17844
(vocabulary, length, width 128, batch 128) for a GPU or for patience.

The tasks have a plateau: for many steps a model guesses among what the sequence shows, then it finds the
answer within a few dozen. Below that transition, scores tell luck from luck. Where it lies for `mA M` x 8, as
`python -m harness.compose.proxies.transitions` measures it, is what `rung` is set from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from harness.compose.proxies.data import Data, Stage, TaskData
from harness.compose.proxies.optimizer import Recipe
from harness.compose.proxies.tasks import (
    Compression,
    FuzzyRecall,
    Memorization,
    Recall,
    SelectiveCopying,
    Task,
)
from harness.compose.proxies.text import BUILT_IN, NAMED, VOCAB, TextData, fingerprint
from harness.compose.shape import ModelShape
from harness.errors import WrongUsage

TEXT = "text"
MAD_TASKS = (
    "in-context-recall",
    "noisy-recall",
    "fuzzy-recall",
    "selective-copying",
    "compression",
    "memorization",
)


@dataclass(frozen=True, kw_only=True)
class TaskProxy:
    """A synthetic task, and easier ones that stand in for it at first."""

    task: Task
    stages: tuple[Stage, ...] = ()

    @property
    def vocab(self) -> int:
        return self.task.vocab

    @property
    def length(self) -> int:
        return self.task.length

    def identities(self) -> Mapping[str, str]:
        """Nothing: a task is a function of its preset, whose changes count in RECIPE."""
        return {}

    def data(self, label: str, seed: int) -> Data:
        return TaskData(label=label, seed=seed, task=self.task, stages=self.stages)


@dataclass(frozen=True, kw_only=True)
class TextProxy:
    """Language modelling of a corpus by bytes."""

    corpus: str
    length: int
    vocab: int = VOCAB

    def identities(self) -> Mapping[str, str]:
        """The hash of the text."""
        return {f"{TEXT}/{self.corpus}": fingerprint(self.corpus)}

    def data(self, label: str, seed: int) -> Data:
        return TextData(corpus=self.corpus, label=label, seed=seed, length=self.length)


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Everything about an evaluation that is not the composition, the seed, the number of steps or the split.

    `batch` sequences a step; a curve point every `every` steps, on `examples` sequences of the split; `rung`
    is the fewest steps at which scores mean anything, `steps` what a search should ask for.
    """

    proxy: TaskProxy | TextProxy
    shape: ModelShape
    recipe: Recipe
    batch: int
    examples: int
    every: int
    rung: int
    steps: int

    def data(self, label: str, seed: int) -> Data:
        """The examples under a seed; `label` keeps those of different presets apart."""
        return self.proxy.data(label, seed)


def preset_of(task: str, preset: str) -> Preset:
    """The preset of a task: one of `MAD_TASKS`, or `text`, `text/<named set>`, `text/<path of a file>`.

    Raises WrongUsage for a name that does not exist.
    """
    kind, _, corpus = task.partition("/")
    found = PRESETS.get((kind if kind == TEXT else task, preset))
    if found is None:
        tasks = sorted({name for name, _ in PRESETS})
        raise WrongUsage(
            f"proxy {task!r} at {preset!r}: expected a task of {', '.join(tasks)} (or text/<corpus>, "
            f"a corpus being {BUILT_IN}, {', '.join(NAMED)} or a file) at tiny, small or mad."
        )
    if not corpus:
        return found
    assert isinstance(found.proxy, TextProxy)
    return replace(found, proxy=replace(found.proxy, corpus=corpus))


def _shape(width: int, vocab: int, heads: int) -> ModelShape:
    return ModelShape(
        d_model=width,
        heads=heads,
        kv_heads=heads,
        head_dim=width // heads,
        ffn=2 * width,
        vocab=vocab,
        ssm_state=16,
        ssm_head_dim=width // heads,
    )


def _tiny(task: Task, *stages: Stage, rung: int, steps: int, batch: int = 32) -> Preset:
    return Preset(
        proxy=TaskProxy(task=task, stages=stages),
        shape=_shape(32, task.vocab, 2),
        recipe=Recipe(lr=3e-3),
        batch=batch,
        examples=256,
        every=50,
        rung=rung,
        steps=steps,
    )


def _small(task: Task, *stages: Stage, rung: int, steps: int) -> Preset:
    return Preset(
        proxy=TaskProxy(task=task, stages=stages),
        shape=_shape(64, task.vocab, 4),
        recipe=Recipe(lr=2e-3, std=0.08),
        batch=32,
        examples=512,
        every=100,
        rung=rung,
        steps=steps,
    )


def _mad(task: Task) -> Preset:
    """MAD's training: 200 epochs of 100 batches; 1,280 examples for evaluation; the middle of its rates."""
    return Preset(
        proxy=TaskProxy(task=task),
        shape=_shape(128, task.vocab, 8),
        recipe=Recipe(lr=5e-4, warmup=100, std=0.02),
        batch=128,
        examples=1280,
        every=500,
        rung=5000,
        steps=20_000,
    )


def _text(width: int, length: int, *, rung: int, steps: int) -> Preset:
    return Preset(
        proxy=TextProxy(corpus=BUILT_IN, length=length),
        shape=_shape(width, VOCAB, width // 16),
        recipe=Recipe(lr=3e-3, std=0.08),
        batch=16,
        examples=64,
        every=50,
        rung=rung,
        steps=steps,
    )


def _recall(length: int, keys: int, values: int = 24, noise: float = 0.0) -> Recall:
    return Recall(length=length, keys=keys, values=values, noise=noise, noise_tokens=16 if noise else 0)


def _fuzzy(length: int, longest: int = 2) -> FuzzyRecall:
    return FuzzyRecall(length=length, keys=4, values=24, longest=longest)


PRESETS: Mapping[tuple[str, str], Preset] = MappingProxyType(
    {
        ("in-context-recall", "tiny"): _tiny(
            _recall(32, 8),
            Stage(until=80, task=_recall(8, 3)),
            Stage(until=180, task=_recall(16, 4)),
            rung=300,
            steps=400,
        ),
        ("in-context-recall", "small"): _small(
            _recall(64, 16, 32),
            Stage(until=100, task=_recall(8, 3, 32)),
            Stage(until=250, task=_recall(16, 4, 32)),
            Stage(until=400, task=_recall(32, 8, 32)),
            rung=600,
            steps=1000,
        ),
        ("in-context-recall", "mad"): _mad(_recall(128, 8, 8)),
        ("noisy-recall", "tiny"): _tiny(
            _recall(32, 6, 24, 0.2),
            Stage(until=80, task=_recall(8, 3, 24, 0.2)),
            Stage(until=180, task=_recall(16, 4, 24, 0.2)),
            rung=400,
            steps=500,
        ),
        ("noisy-recall", "small"): _small(
            _recall(64, 16, 32, 0.2),
            Stage(until=100, task=_recall(8, 3, 32, 0.2)),
            Stage(until=250, task=_recall(16, 4, 32, 0.2)),
            Stage(until=400, task=_recall(32, 8, 32, 0.2)),
            rung=600,
            steps=1000,
        ),
        ("noisy-recall", "mad"): _mad(_recall(128, 8, 8, 0.2)),
        ("fuzzy-recall", "tiny"): _tiny(
            _fuzzy(32),
            Stage(until=60, task=_fuzzy(8, 1)),
            Stage(until=120, task=_fuzzy(16, 1)),
            Stage(until=250, task=_fuzzy(16)),
            rung=500,
            steps=600,
        ),
        ("fuzzy-recall", "small"): _small(
            _fuzzy(64),
            Stage(until=100, task=_fuzzy(8, 1)),
            Stage(until=200, task=_fuzzy(16, 1)),
            Stage(until=400, task=_fuzzy(32)),
            rung=700,
            steps=1000,
        ),
        ("fuzzy-recall", "mad"): _mad(FuzzyRecall(length=128, keys=7, values=8, longest=3)),
        ("selective-copying", "tiny"): _tiny(
            SelectiveCopying(length=20, tokens=8, copied=4), rung=200, steps=300
        ),
        ("selective-copying", "small"): _small(
            SelectiveCopying(length=64, tokens=14, copied=8), rung=600, steps=1000
        ),
        ("selective-copying", "mad"): _mad(SelectiveCopying(length=256, tokens=14, copied=16)),
        ("compression", "tiny"): _tiny(Compression(length=8, tokens=8), rung=300, steps=500, batch=64),
        ("compression", "small"): _small(Compression(length=16, tokens=15), rung=600, steps=1000),
        ("compression", "mad"): _mad(Compression(length=32, tokens=15)),
        ("memorization", "tiny"): _tiny(Memorization(length=16, pairs=64), rung=100, steps=150),
        ("memorization", "small"): _small(Memorization(length=32, pairs=127), rung=200, steps=300),
        ("memorization", "mad"): _mad(Memorization(length=32, pairs=127)),
        (TEXT, "tiny"): _text(32, 64, rung=100, steps=200),
        (TEXT, "small"): _text(64, 128, rung=200, steps=600),
        (TEXT, "mad"): _text(128, 256, rung=500, steps=5000),
    }
)
