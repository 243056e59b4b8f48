"""Bit-exact randomness: NumPy's Philox raw words and integer arithmetic, so a case has the same inputs
everywhere.
"""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from verify.dtypes import Float64

Item = TypeVar("Item")


class Stream:
    """Numbers from one seed. Only raw 64-bit words, shifts and sums of integers are used, never libm."""

    def __init__(self, seed: int) -> None:
        self._bits = np.random.Philox(key=seed)

    def words(self, count: int) -> npt.NDArray[np.uint64]:
        return np.asarray(self._bits.random_raw(count), dtype=np.uint64)

    def below(self, bound: int) -> int:
        """An integer in [0, bound), by multiply-shift of one word."""
        return (int(self.words(1)[0]) * bound) >> 64

    def choice(self, items: tuple[Item, ...]) -> Item:
        return items[self.below(len(items))]

    def uniform(self, shape: tuple[int, ...]) -> Float64:
        """Multiples of 2**-24 in [0, 1)."""
        return (self.words(math.prod(shape)) >> np.uint64(40)).astype(np.float64).reshape(shape) / 2.0**24

    def normal_integers(self, shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
        """Irwin-Hall: twelve 16-bit uniforms summed, mean removed; one unit is 2**-16 of a standard
        deviation.
        """
        words = self.words(3 * math.prod(shape)).reshape(3, -1)
        total = np.zeros(words.shape[1], np.int64)
        for shift in (0, 16, 32, 48):
            total += ((words >> np.uint64(shift)) & np.uint64(0xFFFF)).astype(np.int64).sum(axis=0)
        return (total - 6 * 65535).reshape(shape)

    def normal(self, shape: tuple[int, ...]) -> Float64:
        """Mean 0, variance 1, within +-6, on a grid of 2**-16."""
        return self.normal_integers(shape).astype(np.float64) / 65536.0

    def signs(self, shape: tuple[int, ...]) -> Float64:
        """-1 or +1."""
        return ((self.words(math.prod(shape)) >> np.uint64(63)).astype(np.float64) * 2.0 - 1.0).reshape(shape)
