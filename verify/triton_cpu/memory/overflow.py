"""Offsets that do not fit their type: int32 arithmetic that wrapped, followed to the address it reaches.

A wrap is no defect by itself: generators of random numbers and hashes live on it. It is one where a load
or store uses an address that depends on the wrapped value and differs from the address that exact
arithmetic gives. So each int32 sum, difference, product and left shift is checked, each int32 total and
running total of a block, and each conversion of int64 to int32. Where it wrapped, the exact values are
kept beside it in int64, and so are those of sums, products, quotients, minima, conversions and pointers
made of it. A wrap that a later operation takes back leaves exact and actual address equal. Remainders and
operations on bits end the trace: they are how a wrapped value is brought into range on purpose.

Values pass through views (broadcasts, transpositions, new axes) between the operations. A view shares memory
with the array that was noted, and so its exact values are found: the same view of the exact array.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from verify.triton_cpu.memory.buffers import Array, Buffer
from verify.triton_cpu.memory.reporting import Reporting

Operation = Callable[..., Array]

_LOW, _HIGH = -(2**31), 2**31 - 1
_SMALL = 4096
_MOST = 64
"""Wrapped results that are remembered at once; an address is made soon after."""


@dataclass(frozen=True, kw_only=True)
class _Note:
    """`values`, an array in which something wrapped or that depends on one, kept alive so that its memory is
    not used again; `exact` holds its exact values in the same order in memory; `line` is where it wrapped.
    """

    start: int
    stop: int
    values: Array
    exact: Array
    line: int


class Exact:
    """Exact values of the running programs' wrapped integers and of the pointers made of them.

    `memory` says where the kernel is, and hears of the accesses that are wrong; None follows nothing.
    """

    def __init__(self, memory: Reporting | None) -> None:
        self._memory = memory
        self._notes: list[_Note] = []

    def clear(self) -> None:
        """Other programs run now."""
        self._notes.clear()

    def of(self, values: Array) -> tuple[Array, int] | None:
        """The exact int64 values of an array, in its shape, and the line where they left it; None where none
        are known.
        """
        if not self._notes:
            return None
        at = values.__array_interface__["data"][0]
        for note in reversed(self._notes):
            if note.start <= at < note.stop:
                size = note.values.itemsize
                flat = np.lib.stride_tricks.as_strided(note.exact, (note.exact.size,), (8,))
                strides = tuple(step // size * 8 for step in values.strides)
                view = flat[(at - note.start) // size :]
                return np.lib.stride_tricks.as_strided(view, values.shape, strides), note.line
        return None

    def check(self, operation: Operation, left: Array, right: Array, result: Array) -> None:
        """Look at `result` = operation(left, right) of integers, where the operation is exact but for a wrap:
        a sum, difference, product, quotient, minimum or maximum.
        """
        if self._notes and (self.of(left) is not None or self.of(right) is not None):
            self.follow(operation, result, left, right)
        elif self._memory is not None and result.dtype == np.int32 and result.size:
            if _fits(operation, left, right, result):
                return
            self._compare(result, operation(left, right, dtype=np.int64))

    def follow(self, operation: Operation, result: Array, *operands: Array) -> None:
        """The exact values of `result`, where an operand has exact values of its own; `operation` maps int64
        arrays to an int64 array.
        """
        if not self._notes:
            return
        known = [self.of(operand) for operand in operands]
        if not any(known):
            return
        exact = [
            operand.astype(np.int64) if found is None else found[0]
            for operand, found in zip(operands, known, strict=True)
        ]
        wide = operation(*exact)
        self._compare(result, wide, next(found[1] for found in known if found is not None))

    def total(self, operation: Operation, values: Array, result: Array) -> None:
        """Look at `result` = operation(values), a sum along an axis, total or running."""
        if self._memory is None or result.dtype != np.int32:
            return
        found = self.of(values)
        wide = operation(values.astype(np.int64) if found is None else found[0])
        self._compare(result, wide, 0 if found is None else found[1])

    def narrowed(self, result: Array, source: Array) -> None:
        """Look at integers `source` converted to `result`."""
        if self.of(source) is not None:
            self.follow(lambda exact: exact, result, source)
        elif result.dtype == np.int32 and source.dtype == np.int64:
            self._compare(result, source)

    def access(self, addresses: Array, mask: Array | None, buffer: Buffer | None, itemsize: int) -> None:
        """Report the live lanes of an access whose address is not what exact arithmetic gives."""
        found = self.of(addresses)
        if found is not None and self._memory is not None:
            self._memory.report_overflow(addresses, found[0], mask, buffer, itemsize, found[1])

    def corner(self, buffer: Buffer | None, offsets: Sequence[Array]) -> None:
        """The same for the corner of a block, by its coordinates."""
        for offset in offsets if self._notes else ():
            self.access(offset, None, buffer, 0)

    def _compare(self, values: Array, wide: Array, line: int = 0) -> None:
        """Note the exact values `wide` where they differ, since `line` (0: since now)."""
        if self._memory is not None and (wide != values).any():
            self._note(values, wide, line or self._memory.locate().line)

    def _note(self, values: Array, wide: Array, line: int) -> None:
        exact = np.empty_like(values, dtype=np.int64)  # the same order in memory
        exact[...] = wide
        start = values.__array_interface__["data"][0]
        self._notes.append(
            _Note(start=start, stop=start + values.nbytes, values=values, exact=exact, line=line)
        )
        if len(self._notes) > _MOST:
            del self._notes[0]


def _fits(operation: Operation, left: Array, right: Array, result: Array) -> bool:
    """Whether no element can have wrapped, told from the largest and smallest operands; only worth asking of
    large blocks.
    """
    if result.size <= _SMALL:
        return False
    (low, high), (least, most) = _range(left), _range(right)
    corners = [int(operation(x, y)) for x in (low, high) for y in (least, most)]
    return min(corners) >= _LOW and max(corners) <= _HIGH


def _range(data: Array) -> tuple[np.int64, np.int64]:
    """The smallest and the largest element; what is broadcast is looked at once."""
    once = data[tuple(slice(0, 1) if step == 0 else slice(None) for step in data.strides)]
    return np.int64(once.min()), np.int64(once.max())
