"""Who touched what: conflicts between the programs of one launch, and between the lanes of one store."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
_MANY = -1


class Owners:
    """For each byte of a buffer, the program that wrote it and the one that read it (-1: several did)."""

    def __init__(self, nbytes: int) -> None:
        self._writers = np.zeros(nbytes, np.int32)
        self._readers = np.zeros(nbytes, np.int32)

    def read(self, at: Array, program: int) -> Array:
        """Note a read of the elements that start at the bytes `at`; true where another program wrote them."""
        me = program + 1
        writer, reader = self._writers[at], self._readers[at]
        self._readers[at] = np.where((reader == 0) | (reader == me), me, _MANY)
        foreign: Array = (writer != 0) & (writer != me)
        return foreign

    def write(self, at: Array, program: int) -> Array:
        """Note a write of the elements that start at `at`; true where another program wrote or read them."""
        me = program + 1
        writer, reader = self._writers[at], self._readers[at]
        self._writers[at] = me
        foreign: Array = ((writer != 0) & (writer != me)) | ((reader != 0) & (reader != me))
        return foreign


def lanes_that_differ(index: Array, values: Array) -> Array:
    """True for each lane of a store that shares its place with a lane of another value; shape (lanes,)."""
    _, inverse = np.unique(index, return_inverse=True)
    raw = np.ascontiguousarray(values).ravel().view(f"u{values.dtype.itemsize}")
    last = np.empty(index.size, raw.dtype)
    last[inverse.ravel()] = raw
    differs: Array = last[inverse.ravel()] != raw
    return differs
