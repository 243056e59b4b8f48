"""A recorder of memory traffic: bytes, sectors, and which bytes were touched at all.

Each element of a tensor carries the number of the last program that touched it, in memory that is there only
where it is used. That one number says both whether this program was here before and whether any program was.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from math import fsum
from typing import Any

import numpy as np
import numpy.typing as npt

from verify.triton_cpu.counting.counts import SECTOR_BYTES, ArgumentCounts
from verify.triton_cpu.counting.storages import TensorView, lazy_zeros

Array = npt.NDArray[Any]

_LONGEST = 4096
_SECTOR_SHIFT = SECTOR_BYTES.bit_length() - 1


class Stamps:
    """For each of `size` places the number of the last program that was there (0: none)."""

    def __init__(self, size: int) -> None:
        self._last = lazy_zeros(4 * max(1, size)).view(np.int32)

    def fresh(self, places: Array, program: int) -> tuple[Array, Array]:
        """The distinct places where `program` was not before, and who was; it has been there now."""
        was = self._last[places]
        new = was != program
        if not new.all():
            places, was = places[new], was[new]
        if places.size and bool((places[1:] > places[:-1]).all()):  # in order, so there are no two of one
            self._last[places] = program
        elif places.size:
            lane = -1 - np.arange(places.size, dtype=np.int32)
            self._last[places] = lane
            alone = self._last[places] == lane  # of lanes with one place the last one to write is left
            self._last[places] = program
            if not alone.all():
                places, was = places[alone], was[alone]
        return places, was


class Box:
    """The part of a tensor that programs touch, per dimension, for what no sampled program touches.

    Along a dimension where all sampled programs touch the same indices, these are all there are. Along one
    where they differ, the grid walks over it: everything between the outermost indices counts.
    """

    def __init__(self, tensor: TensorView) -> None:
        pairs = [(step, n) for n, step in zip(tensor.shape, tensor.strides, strict=True) if step and n > 1]
        pairs.sort(reverse=True)
        nested = all(outer >= inner * size for (outer, _), (inner, size) in pairwise(pairs))
        self._dims = [part for pair in pairs for part in _parts(*pair)] if nested else []
        self._offset, self._limit = tensor.offset, tensor.nbytes if nested else tensor.storage.nbytes
        self._itemsize = tensor.itemsize
        self._here = [np.zeros(size, np.bool_) for _, size in self._dims]
        self._first: list[Array] | None = None
        self._union = [np.zeros(size, np.bool_) for _, size in self._dims]
        self._same = [True] * len(self._dims)
        self._used = False

    def add(self, elements: Array) -> None:
        """Elements of the storage that the running program touches for the first time."""
        self._used = True
        rest = elements - self._offset
        rest = rest[rest >= 0]
        for (stride, size), here in zip(self._dims, self._here, strict=True):
            index = rest // stride
            rest = rest - index * stride
            here[np.minimum(index, size - 1)] = True

    def end_program(self) -> None:
        """What was added belongs to one program, which is over."""
        if not self._used:
            return
        if self._first is None:
            self._first = [here.copy() for here in self._here]
        for axis, here in enumerate(self._here):
            self._same[axis] &= bool(np.array_equal(here, self._first[axis]))
            self._union[axis] |= here
            here[:] = False
        self._used = False

    def nbytes(self) -> int:
        """Bytes that the whole grid touches at most, as far as the sample shows."""
        if self._first is None:
            return 0
        if not self._dims:
            return self._limit
        covered = self._itemsize
        for union, same in zip(self._union, self._same, strict=True):
            places = np.flatnonzero(union)
            covered *= places.size if same else int(places[-1] - places[0]) + 1
        return min(covered, self._limit)


def _parts(stride: int, size: int) -> list[tuple[int, int]]:
    """A long dimension as several, slowest first, so that a flag for each index takes little memory."""
    if size <= _LONGEST:
        return [(stride, size)]
    return [*_parts(stride * _LONGEST, -(-size // _LONGEST)), (stride, _LONGEST)]


class Touched:
    """Loads, or stores, of one tensor."""

    def __init__(self, tensor: TensorView, *, boxed: bool) -> None:
        nbytes = tensor.storage.nbytes
        self._itemsize = tensor.itemsize
        self._lead = tensor.storage.base % SECTOR_BYTES
        self._elements = Stamps(-(-nbytes // self._itemsize))
        self._sectors = Stamps((nbytes + self._lead >> _SECTOR_SHIFT) + 1)
        self.box = Box(tensor) if boxed else None
        self.union = 0
        """Bytes that any program has touched."""
        self.reset()

    def reset(self) -> None:
        """A new program begins."""
        self.accesses = self.moved = self.sectors = self.unique = self.distinct_sectors = 0

    def access(self, offsets: Array, itemsize: int, program: int) -> None:
        """Lanes at byte `offsets` (lanes,) of the storage, of `itemsize` bytes each."""
        self.accesses += 1
        self.moved += offsets.size * itemsize
        self.sectors += _distinct(offsets + self._lead >> _SECTOR_SHIFT)
        elements = offsets // self._itemsize
        if itemsize > self._itemsize:  # a pointer to a wider type than the tensor's
            elements = (elements[:, None] + np.arange(itemsize // self._itemsize)).reshape(-1)
        new, was = self._elements.fresh(elements, program)
        if not new.size:
            return
        self.unique += new.size * self._itemsize
        self.union += int(np.count_nonzero(was == 0)) * self._itemsize
        sectors, _ = self._sectors.fresh(new * self._itemsize + self._lead >> _SECTOR_SHIFT, program)
        self.distinct_sectors += sectors.size
        if self.box is not None:
            self.box.add(new)


def _distinct(values: Array) -> int:
    """How many different values there are; rows of a tile come in order, columns do not."""
    steps = np.diff(values)
    if steps.size and int(steps.min()) < 0:
        steps = np.diff(np.sort(values, kind="stable"))
    return 1 + int(np.count_nonzero(steps))


class Traffic:
    """The recorder of one launch. `tensors` are its tensor arguments by name.

    With `boxed`, it also keeps what extrapolation from a sample needs.
    """

    def __init__(self, tensors: Mapping[str, TensorView], *, boxed: bool) -> None:
        self._program = 0
        self._of: dict[str, tuple[Touched, Touched]] = {}
        shared: dict[Any, tuple[Touched, Touched]] = {}
        for name, tensor in tensors.items():
            key = (id(tensor.storage), tensor.dtype, tensor.shape, tensor.strides, tensor.offset)
            if key not in shared:  # one tensor under two names is one tensor
                shared[key] = (Touched(tensor, boxed=boxed), Touched(tensor, boxed=boxed))
            self._of[name] = shared[key]
        self._pairs = tuple(shared.values())
        self._names = {id(pair): name for name, pair in reversed(self._of.items())}
        self._views = dict(tensors)

    def begin_program(self) -> None:
        """The accesses that follow are those of another program."""
        self._program += 1
        for touched in self._each():
            touched.reset()

    def end_program(self) -> None:
        """The program is over."""
        for touched in self._each():
            if touched.box is not None:
                touched.box.end_program()

    def access(self, buffer: Any, offsets: Array, itemsize: int, kind: str) -> None:
        """`offsets`: bytes from the start of the buffer, of the live lanes; `kind` load, store or atomic."""
        loads, stores = self._of[buffer.name]
        places = offsets.reshape(-1)
        if not places.size:
            return
        if kind != "store":
            loads.access(places, itemsize, self._program)
        if kind != "load":
            stores.access(places, itemsize, self._program)

    def program_counts(self) -> dict[str, int]:
        """Fields of `Counts` about memory, of the program that just ran."""
        loads, stores = [pair[0] for pair in self._pairs], [pair[1] for pair in self._pairs]
        return {
            "loads": sum(one.accesses for one in loads),
            "stores": sum(one.accesses for one in stores),
            "bytes_loaded": sum(one.moved for one in loads),
            "bytes_stored": sum(one.moved for one in stores),
            "unique_loaded": sum(one.unique for one in loads),
            "unique_stored": sum(one.unique for one in stores),
            "sectors_loaded": sum(one.sectors for one in loads),
            "sectors_stored": sum(one.sectors for one in stores),
            "fetched_sectors": sum(one.distinct_sectors for one in loads),
            "flushed_sectors": sum(one.distinct_sectors for one in stores),
        }

    def argument_bytes(self) -> dict[str, tuple[int, int, int, int]]:
        """By argument: bytes loaded and stored, unique bytes loaded and stored, by the program that just ran.

        A tensor that is passed twice is counted under its first name.
        """
        return {
            self._names[id(pair)]: (pair[0].moved, pair[1].moved, pair[0].unique, pair[1].unique)
            for pair in self._pairs
        }

    def finished(
        self, programs: Sequence[tuple[float, Mapping[str, tuple[int, int, int, int]]]], *, complete: bool
    ) -> tuple[ArgumentCounts, ...]:
        """Counts by argument over the whole grid, from the weight and `argument_bytes` of each program.

        Unique bytes are the union over programs where all of them ran (`complete`), else the smaller of two
        bounds, for which the recorder must be `boxed`.
        """
        rows = []
        for pair in self._pairs:
            name = self._names[id(pair)]
            sums = [fsum(weight * moved[name][part] for weight, moved in programs) for part in range(4)]
            rows.append(
                ArgumentCounts(
                    name=name,
                    view_bytes=self._views[name].nbytes,
                    bytes_loaded=round(sums[0]),
                    bytes_stored=round(sums[1]),
                    unique_loaded=_unique(pair[0], sums[2], complete),
                    unique_stored=_unique(pair[1], sums[3], complete),
                )
            )
        return tuple(rows)

    def _each(self) -> Iterable[Touched]:
        return (touched for pair in self._pairs for touched in pair)


def _unique(touched: Touched, added_up: float, complete: bool) -> int:
    if complete or touched.box is None:
        return touched.union
    return min(round(added_up), touched.box.nbytes())
