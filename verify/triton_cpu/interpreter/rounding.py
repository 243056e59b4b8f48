"""Other roundings that a device may make: a witness against kernels that know the interpreter by a last bit.

A compiler contracts a product and a sum to one fma, approximates quotients, roots and exponentials to a unit
or two, and adds in an order of its own. Under `Loose` every inexact product is rounded to either neighbour of
its exact value, what is approximated moves by up to two units, an exponential is a power of two of such a
product, and sums and products of matrices run in another order. What is exact stays exact.
`verify.judge.tolerance.OTHER_ROUNDINGS` says how much of that an honest result may show.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_UNITS = 2
_LOG2_E = 1.4426950408889634
_LARGE = np.float32(1e37)
_FIRST, _SECOND, _THIRD = (
    np.uint64(number) for number in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)


class Loose:
    """Draws roundings from a seed, the value and how many each program has drawn: a group draws what its
    programs would draw by themselves.
    """

    def __init__(self, seed: int) -> None:
        self._seed = np.uint64(seed & (2**64 - 1))
        self._drawn: Array = np.zeros(1, np.uint64)

    def begin_group(self) -> None:
        """Other programs run now."""
        self._drawn = np.zeros(1, np.uint64)

    def product(self, data: Array, exact: Array, active: Array | None) -> Array:
        """float32 `data` (p, ...), or the neighbour on the other side of the float64 values `exact`."""
        inexact, bits = self._inexact(data, exact), self._bits(data, active)
        other = np.nextafter(data, np.where(exact > data, np.float32(np.inf), np.float32(-np.inf)))
        moved: Array = np.where(inexact & (bits >> np.uint64(40) & np.uint64(1) != 0), other, data)
        return moved

    def approximated(self, data: Array, exact: Array, active: Array | None) -> Array:
        """float32 `data` (p, ...) moved by up to two units where the float64 values `exact` are others."""
        inexact, bits = self._inexact(data, exact), self._bits(data, active)
        units = (bits >> np.uint64(40)) % np.uint64(2 * _UNITS + 1)
        steps = np.where(inexact, units.astype(np.int32) - np.int32(_UNITS), np.int32(0))
        moved: Array = (np.ascontiguousarray(data).view(np.int32) + steps).view(np.float32)
        return moved

    def exponential(self, arg: Array, active: Array | None) -> Array:
        """e to the float32 `arg` (p, ...) as GPUs take it, 2 to the power of arg * log2(e): the product is
        rounded, so the result is as many units off as the argument is large.
        """
        exact = arg.astype(np.float64) * _LOG2_E
        with np.errstate(all="ignore"):
            power = np.exp2(self.product(exact.astype(np.float32), exact, active).astype(np.float64))
            return self.approximated(power.astype(np.float32), power, active)

    def order(self, length: int) -> Array:
        """In which order to add `length` values."""
        words = np.random.Philox(key=int(self._seed)).random_raw(length)
        return np.argsort(np.asarray(words), kind="stable")

    @staticmethod
    def _inexact(data: Array, exact: Array) -> Array:
        """Where the value was rounded, and a neighbour is a number of its kind."""
        normal = np.abs(data) > np.finfo(np.float32).tiny
        found: Array = normal & (np.abs(data) < _LARGE) & (data.astype(np.float64) != exact)
        return found

    def _bits(self, data: Array, active: Array | None) -> Array:
        drawn = self._drawn
        column = drawn.reshape((-1,) + (1,) * (data.ndim - 1))
        self._drawn = drawn + (np.uint64(1) if active is None else active.astype(np.uint64))
        if (self._drawn == self._drawn[0]).all():
            self._drawn = self._drawn[:1]
        mixed = np.ascontiguousarray(data).view(np.uint32).astype(np.uint64) * _SECOND
        mixed = (mixed ^ (column * _FIRST + self._seed)) * _THIRD
        mixed = (mixed ^ (mixed >> np.uint64(29))) * _SECOND
        found: Array = mixed ^ (mixed >> np.uint64(32))
        return found
