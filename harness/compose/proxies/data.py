"""What a training step reads: batches as tensors, whichever proxy they come from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
import torch

from harness.compose.proxies.request import Split
from harness.compose.proxies.splits import ExampleSource
from harness.compose.proxies.tasks.contract import Examples, Readout, Task

KEPT_BATCHES = 1024
"""Batches that a process keeps: a search trains many compositions on the same ones."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """`ids` (B, T) int64; `scored` (S,) int64, positions in the flattened batch; `targets` (S,) int64."""

    ids: torch.Tensor
    scored: torch.Tensor
    targets: torch.Tensor


class Data(Protocol):
    """A proxy's examples under one seed, and how its answers are judged."""

    @property
    def length(self) -> int:
        """T of the evaluation."""

    @property
    def readout(self) -> Readout:
        """Where answers are read."""

    @property
    def chance(self) -> float:
        """The score of a model that knows nothing."""

    def train(self, step: int, count: int) -> Batch:
        """The batch of training step `step`, from 0."""

    def evaluation(self, split: Split, count: int) -> Batch:
        """The fixed examples on which scores are taken."""

    def score(self, logits: torch.Tensor, targets: torch.Tensor) -> float:
        """Higher is better: logits (S, vocab), targets (S,)."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Until training step `until`, `task` stands in for the preset's own."""

    until: int
    task: Task


@dataclass(frozen=True, kw_only=True)
class TaskData:
    """A synthetic task as data; `stages`, in order, is its curriculum. The score is accuracy."""

    label: str
    seed: int
    task: Task
    stages: tuple[Stage, ...] = ()

    @property
    def length(self) -> int:
        return self.task.length

    @property
    def readout(self) -> Readout:
        return self.task.readout

    @property
    def chance(self) -> float:
        return self.task.chance

    def train(self, step: int, count: int) -> Batch:
        return _train(self, step, count)

    def evaluation(self, split: Split, count: int) -> Batch:
        return _evaluation(self, split, count)

    def score(self, logits: torch.Tensor, targets: torch.Tensor) -> float:
        return float((logits.argmax(-1) == targets).double().mean())

    def at(self, step: int) -> Task:
        """The task that step `step` trains on."""
        return next((stage.task for stage in self.stages if step < stage.until), self.task)

    @property
    def source(self) -> ExampleSource:
        return ExampleSource(label=self.label, seed=self.seed)


@lru_cache(maxsize=KEPT_BATCHES)
def _train(data: TaskData, step: int, count: int) -> Batch:
    return to_batch(data.source.batch(data.at(step), "train", step, count))


@lru_cache(maxsize=16)
def _evaluation(data: TaskData, split: Split, count: int) -> Batch:
    return to_batch(data.source.batch(data.task, split, 0, count))


def to_batch(examples: Examples) -> Batch:
    """Tensors, with the scored positions looked up once."""
    flat = examples.targets.reshape(-1)
    scored = np.flatnonzero(flat >= 0)
    return Batch(
        ids=torch.from_numpy(examples.ids),
        scored=torch.from_numpy(scored),
        targets=torch.from_numpy(flat[scored]),
    )
