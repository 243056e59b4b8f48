"""Memory for launches at real sizes: addresses for everything, pages only for what is touched.

Counting needs addresses and control flow, and hardly any values. So a storage reads as zero, costs nothing
until a program writes to it, and holds contents only where a caller gives them (integers, which may be
lengths or indices).
"""

from __future__ import annotations

import math
import mmap
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from verify.dtypes import FORMATS

Array = npt.NDArray[Any]

_FIRST_ADDRESS = 1 << 44
_NO_RESERVE = 0x4000
"""MAP_NORESERVE of Linux on x86-64 and aarch64: untouched pages count against no limit but address space."""

_FLOAT8 = ("e4m3fn", "e5m2", "e4m3fnuz", "e5m2fnuz")
_ITEM_BYTES = {f"float8_{name}": 1 for name in _FLOAT8}
_ITEM_BYTES |= {"float8e4nv": 1, "float8e5": 1, "int1": 1}
_ITEM_BYTES |= {"uint16": 2, "uint32": 4, "uint64": 8}


def item_bytes(dtype: str) -> int:
    """Bytes of one element of a dtype, by its torch name. Raises ValueError for one that no kernel reads."""
    if dtype in FORMATS:
        return FORMATS[dtype].itemsize
    if dtype in _ITEM_BYTES:
        return _ITEM_BYTES[dtype]
    raise ValueError(f"expected a dtype of {sorted({*FORMATS, *_ITEM_BYTES})}, got {dtype!r}")


def lazy_zeros(nbytes: int) -> Array:
    """Zeros (nbytes,) of uint8 that take memory only where they are written to."""
    if nbytes < mmap.PAGESIZE:
        return np.zeros(nbytes, np.uint8)
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NO_RESERVE
    return np.frombuffer(mmap.mmap(-1, nbytes, flags=flags), np.uint8)


@dataclass(frozen=True, kw_only=True, eq=False)
class Storage:
    """`nbytes` at the virtual address `base`; `data` are its bytes."""

    name: str
    base: int
    nbytes: int
    data: Array


@dataclass(frozen=True, kw_only=True)
class TensorView:
    """A tensor argument: `shape`, `strides` and `offset` count elements of `dtype` (a torch name)."""

    storage: Storage
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int = 0

    @property
    def itemsize(self) -> int:
        return item_bytes(self.dtype)

    @property
    def nbytes(self) -> int:
        """Bytes of the elements that the view covers; a dimension of stride 0 is one element."""
        pairs = zip(self.shape, self.strides, strict=True)
        return math.prod(size for size, stride in pairs if stride or not size) * self.itemsize

    def array(self) -> Array:
        """The elements as they are stored, a writable view. For the dtypes that NumPy has storage for."""
        form = FORMATS[self.dtype]
        whole = self.storage.data[: self.storage.nbytes // form.itemsize * form.itemsize].view(form.storage)
        strides = tuple(stride * form.itemsize for stride in self.strides)
        return np.lib.stride_tricks.as_strided(whole[self.offset :], self.shape, strides)


@dataclass(kw_only=True)
class Storages:
    """The storages of a run: each has addresses of its own."""

    next_address: int = field(default=_FIRST_ADDRESS)

    def add(self, name: str, nbytes: int, *, content: Array | None = None, misaligned: int = 0) -> Storage:
        """A storage of zeros, or with a copy of `content` (bytes).

        Its address is a multiple of 256, plus `misaligned`. Raises ValueError where the content has another
        size.
        """
        base = -(-self.next_address // 256) * 256 + misaligned
        self.next_address = base + nbytes + 256
        data = lazy_zeros(nbytes)
        if content is not None:
            if content.nbytes != nbytes:
                raise ValueError(f"{name}: expected {nbytes} bytes of content, got {content.nbytes}")
            data[:] = np.ascontiguousarray(content).reshape(-1).view(np.uint8)
        return Storage(name=name, base=base, nbytes=nbytes, data=data)
