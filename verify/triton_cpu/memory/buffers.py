"""What kernels' pointers point into."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from verify.triton_cpu.memory.events import Location

Array = npt.NDArray[Any]
WRITTEN = {size: int.from_bytes(b"\x01" * size, "little") for size in (1, 2, 4, 8)}
"""Size of an element -> what its flags read as, taken as one integer, where all of its bytes are set."""


class Buffer:
    """`nbytes` of memory at virtual address `base`; `bytes` and `written` (one flag per byte) are NumPy
    arrays.
    """

    __slots__ = (
        *("_shadows", "_views", "base", "bytes", "complete", "legal"),
        *("memory", "name", "nbytes", "stored_at", "written"),
    )

    def __init__(self, name: str, base: int, nbytes: int, data: Array, written: Array) -> None:
        self.name = name
        self.memory = name
        """Which memory it lies in: buffers that can overlap give the same name here."""
        self.base = base
        self.nbytes = nbytes
        self.bytes: Array = data
        self.written: Array = written
        self.complete = False
        """Everything is written: what is read need not be looked up."""
        self.legal: Array | None = None
        """Where set, one flag per byte: those that the caller's tensor covers, as a view of larger memory."""
        self.stored_at: Location | None = None
        """The last store, while something is still to be written."""
        self._views: dict[str, Array] = {}
        self._shadows: dict[tuple[str, int], Array] = {}

    def view(self, dtype: str | np.dtype[Any]) -> Array:
        """The buffer's elements, a writable array of shape (nbytes // itemsize,)."""
        key = dtype if isinstance(dtype, str) else dtype.str
        found = self._views.get(key)
        if found is None:
            size = np.dtype(key).itemsize
            found = self._views[key] = self.bytes[: self.nbytes // size * size].view(key)
        return found

    def shadow(self, itemsize: int) -> Array:
        """`written`, one integer per element of `itemsize` bytes; equal to 0x0101.. where all of its bytes
        are.
        """
        return self._as_elements("written", self.written, itemsize)

    def legal_shadow(self, itemsize: int) -> Array | None:
        """`legal` in the same form as `shadow`; None where the whole buffer is legal."""
        return None if self.legal is None else self._as_elements("legal", self.legal, itemsize)

    def _as_elements(self, what: str, flags: Array, itemsize: int) -> Array:
        found = self._shadows.get((what, itemsize))
        if found is None:
            whole = flags[: self.nbytes // itemsize * itemsize]
            found = self._shadows[what, itemsize] = whole.view(f"u{itemsize}")
        return found
