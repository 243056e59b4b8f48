"""What every synthetic task is: sizes, and a function from a random generator to examples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

IGNORE = -100
"""The target where nothing is scored; PyTorch's default for cross-entropy, and MAD's."""

Ids = NDArray[np.int64]
Readout = Literal["position", "last"]


@dataclass(frozen=True, kw_only=True)
class Examples:
    """`ids` (N, T) are what the model reads, `targets` (N, T) what it is asked, IGNORE where nothing is."""

    ids: Ids
    targets: Ids

    def __len__(self) -> int:
        return len(self.ids)

    def first(self, count: int) -> Examples:
        return Examples(ids=self.ids[:count], targets=self.targets[:count])

    def where(self, kept: NDArray[np.bool_]) -> Examples:
        """The examples that `kept` (N,) marks."""
        return Examples(ids=self.ids[kept], targets=self.targets[kept])


def joined(parts: list[Examples]) -> Examples:
    """All examples of all parts, in order."""
    return Examples(
        ids=np.concatenate([part.ids for part in parts]),
        targets=np.concatenate([part.targets for part in parts]),
    )


@dataclass(frozen=True, kw_only=True)
class Draw:
    """How many examples, and out of which randomness.

    `world` is the seed of what all examples of a run share, in training and evaluation alike (the map of
    memorization). `training` tells apart the only task whose evaluation is harder than its training.
    """

    rng: np.random.Generator
    count: int
    world: int
    training: bool


class Task(Protocol):
    """A synthetic task at one size. Equal values generate equal examples."""

    @property
    def vocab(self) -> int:
        """Ids lie in [0, vocab)."""

    @property
    def length(self) -> int:
        """T."""

    @property
    def chance(self) -> float:
        """Accuracy of the best guess that sees the token at its own position only."""

    @property
    def readout(self) -> Readout:
        """Which hidden state answers at position t: the one at t, or the last one of the sequence."""

    def sample(self, draw: Draw) -> Examples:
        """`draw.count` examples; a function of the generator's state and the task's sizes."""
