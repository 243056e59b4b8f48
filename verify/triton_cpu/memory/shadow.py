"""One number for each element of a buffer, zero at first, for buffers of any size."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_DENSE = 1 << 24
_PAGE_BITS = 16
_PAGE = 1 << _PAGE_BITS


class Shadow:
    """An array of `length` int64, zero until set. A long one holds only the pages that were set."""

    __slots__ = ("_dense", "_pages", "_table", "_used")

    def __init__(self, length: int) -> None:
        self._dense: Array | None = np.zeros(length, np.int64) if length <= _DENSE else None
        pages = 0 if self._dense is not None else (length >> _PAGE_BITS) + 1
        self._table = np.zeros(pages, np.int64)  # page -> its place; place 0 is the page of zeros
        self._pages = np.zeros((1 if pages else 0, _PAGE), np.int64)
        self._used = 1

    def get(self, index: Array) -> Array:
        """The numbers at `index`, an array of its shape."""
        if self._dense is not None:
            found: Array = self._dense.take(index, mode="clip")
            return found
        place = (self._table[index >> _PAGE_BITS] << _PAGE_BITS) + (index & (_PAGE - 1))
        paged: Array = self._pages.reshape(-1)[place]
        return paged

    def put(self, index: Array, values: Array) -> None:
        """Set the numbers at `index`; where it names one twice, the last value stays."""
        if self._dense is not None:
            self._dense[index] = values
            return
        page = index >> _PAGE_BITS
        missing = np.unique(page[self._table[page] == 0])
        if missing.size:
            self._grow(missing)
        self._pages.reshape(-1)[(self._table[page] << _PAGE_BITS) + (index & (_PAGE - 1))] = values

    def refined(self, length: int, parts: int) -> Shadow:
        """The same over elements that are `parts` times smaller."""
        finer = Shadow(length)
        if self._dense is not None:
            pieces = np.nonzero(self._dense)[0]
        else:
            places = np.nonzero(self._table)[0]
            pieces = ((places << _PAGE_BITS)[:, None] + np.arange(_PAGE)).reshape(-1)
            pieces = pieces[self.get(pieces) != 0]
        for part in range(parts):
            finer.put(pieces * parts + part, self.get(pieces))
        return finer

    def _grow(self, missing: Array) -> None:
        needed = self._used + missing.size
        if needed > len(self._pages):
            larger = np.zeros((max(needed, 2 * len(self._pages)), _PAGE), np.int64)
            larger[: len(self._pages)] = self._pages
            self._pages = larger
        self._table[missing] = np.arange(self._used, needed)
        self._used = needed
