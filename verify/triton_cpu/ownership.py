"""Who touched what: conflicts between the programs of one launch, and between the lanes of one store."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

MOST_TAGS = 1 << 30


class Tags:
    """Numbers for the programs of a launch that no earlier launch used, so that nothing has to be wiped.

    `base` is the largest number of earlier launches; `many` stands for several programs.
    """

    def __init__(self) -> None:
        self.base = 0
        self._next = 0

    def begin(self, programs: int) -> bool:
        """Number the programs of a new launch; true where the numbers start again, and every note is void."""
        restarted = self._next + programs + 2 > MOST_TAGS
        self.base = 0 if restarted else self._next
        self._next = self.base + programs + 1
        return restarted

    @property
    def many(self) -> int:
        return self.base + 1

    def of(self, numbers: Array) -> Array:
        """The tags of program numbers (p,), int32."""
        return (numbers + (self.base + 2)).astype(np.int32)

    def number(self, tag: int) -> int | None:
        """The program behind a tag of this launch; None for `many` and for what is older."""
        return tag - self.base - 2 if tag > self.base + 1 else None


class Owners:
    """For each element of a buffer, the program that wrote it last and the one that read it.

    Elements are those of the first access; a buffer that is touched in several sizes is followed byte by
    byte from then on.
    """

    def __init__(self, nbytes: int, itemsize: int) -> None:
        self.itemsize = itemsize
        self._writers = np.zeros(nbytes // itemsize, np.int32)
        self._readers = np.zeros(nbytes // itemsize, np.int32)
        self._lanes = np.zeros(nbytes // itemsize, np.int32)

    def _places(self, index: Array, itemsize: int, tags: Array) -> tuple[Array, Array]:
        """`index` in our own elements, and the tags of their shape. Both are (p, ...)."""
        if itemsize == self.itemsize:
            return index, tags
        if self.itemsize != 1:
            self._writers = np.repeat(self._writers, self.itemsize)
            self._readers = np.repeat(self._readers, self.itemsize)
            self._lanes = np.zeros(self._writers.size, np.int32)
            self.itemsize = 1
        parts = index[..., None] * itemsize + np.arange(itemsize)
        return parts, tags[..., None]

    def read(self, index: Array, itemsize: int, tags: Array, ids: Tags) -> Array:
        """Note reads of elements `index` (p, ...) by the programs `tags` (p, 1, ...).

        Returns the tags of other programs that wrote them, 0 elsewhere, in the shape of `index`.
        """
        places, own = self._places(index, itemsize, tags)
        writer, reader = self._writers[places], self._readers[places]
        fresh = np.where((reader <= ids.base) | (reader == own), own, ids.many)
        self._readers[places] = fresh
        if own.size > 1:
            shared = self._readers[places] != fresh
            if shared.any():
                self._readers[places[shared]] = ids.many
        foreign = np.where((writer > ids.base) & (writer != own), writer, 0)
        return foreign if places is index else foreign.max(axis=-1)

    def write(self, index: Array, itemsize: int, tags: Array, ids: Tags) -> Array:
        """Note writes, as `read` does; the tags of other programs that wrote or read the elements."""
        places, own = self._places(index, itemsize, tags)
        writer, reader = self._writers[places], self._readers[places]
        self._writers[places] = own
        foreign = np.where((writer > ids.base) & (writer != own), writer, 0)
        np.copyto(foreign, reader, where=(reader > ids.base) & (reader != own) & (foreign == 0))
        return foreign if places is index else foreign.max(axis=-1)

    def repeated(self, index: Array, itemsize: int) -> Array | None:
        """For each lane, the last lane of the same element, flat; None where no two lanes meet."""
        flat = index.ravel()
        if flat.size < 2 or (flat[1:] > flat[:-1]).all():
            return None
        places, _ = self._places(flat, itemsize, np.zeros(1, np.int32))
        if places is not flat:
            places = places[..., 0]
        order = np.arange(flat.size, dtype=np.int32)
        self._lanes[places] = order
        last: Array = self._lanes[places]
        return None if (last == order).all() else last
