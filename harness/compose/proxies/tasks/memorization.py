"""Memorization: a fixed map from keys to values that only training shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.compose.proxies.philox import generator
from harness.compose.proxies.tasks.contract import IGNORE, Draw, Examples, Readout


@dataclass(frozen=True, kw_only=True)
class Memorization:
    """MAD's memorization: (key, blank) pairs; the target at a blank is the value of the key before it.

    Ids are `pairs` keys, `pairs` values (targets only: no sequence shows one), then the blank. The map is
    one-to-one and a function of `Draw.world`, so training and evaluation share it: what differs between
    splits is which sequences of keys are asked, and the score says how much of the map was stored, as in
    MAD, not how it generalises.
    """

    length: int
    pairs: int
    readout: Readout = "position"

    def __post_init__(self) -> None:
        if self.length % 2:
            raise ValueError(f"length: expected an even number, got {self.length}")

    @property
    def vocab(self) -> int:
        return 2 * self.pairs + 1

    @property
    def chance(self) -> float:
        return 1.0 / self.pairs

    def sample(self, draw: Draw) -> Examples:
        values = generator(draw.world, "map").permutation(self.pairs) + self.pairs
        keys = draw.rng.integers(0, self.pairs, (draw.count, self.length // 2))
        ids = np.full((draw.count, self.length), 2 * self.pairs)
        targets = np.full((draw.count, self.length), IGNORE)
        ids[:, ::2] = keys
        targets[:, 1::2] = values[keys]
        return Examples(ids=ids, targets=targets)
