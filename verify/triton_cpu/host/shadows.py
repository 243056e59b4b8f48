"""Which bytes of PyTorch's storages were ever written, for those that started out empty.

A storage is known by its identity in C++, held weakly, so that memory that is freed and used again is a new
storage. One that no `torch.empty` made counts as written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.multiprocessing.reductions import StorageWeakRef

Array = npt.NDArray[Any]
LARGEST = 1 << 30
"""Storages of more bytes are neither poisoned nor watched: filling them would make every page real."""
_SWEEP = 512


class _Span:
    """Lets NumPy see bytes that something else owns."""

    def __init__(self, address: int, nbytes: int, owner: object) -> None:
        self.__array_interface__ = {
            "data": (address, False),
            "shape": (nbytes,),
            "typestr": "|u1",
            "version": 3,
        }
        self.owner = owner


def bytes_of(storage: torch.UntypedStorage) -> Array:
    """The bytes of a CPU storage, shape (nbytes,), uint8; the storage lives as long as the array."""
    if storage.nbytes() == 0:
        return np.empty(0, np.uint8)
    return np.asarray(_Span(storage.data_ptr(), storage.nbytes(), storage))


def covered(shape: Sequence[int], stride: Sequence[int], offset: int, count: int) -> Array:
    """Which of `count` elements a view of this shape, stride and offset (in elements) holds, (count,)."""
    flags = np.zeros(count, np.bool_)
    if 0 not in shape:
        itemwise = np.lib.stride_tricks.as_strided(flags[offset:], tuple(shape), tuple(stride))
        itemwise[...] = True
    return flags


def is_dense(shape: Sequence[int], stride: Sequence[int]) -> bool:
    """Whether a view of this shape covers a gapless stretch, each element once."""
    expected = 1
    for step, extent in sorted(zip(stride, shape, strict=True)):
        if extent == 1:
            continue
        if step != expected:
            return False
        expected *= extent
    return True


class Shadow:
    """What is known about one storage that started out empty."""

    __slots__ = ("_reference", "allocated", "complete", "poison", "written")

    def __init__(
        self, storage: torch.UntypedStorage, poison: int, allocated: str, *, written: bool = False
    ) -> None:
        self._reference = StorageWeakRef(storage)
        self.allocated = allocated
        """Where: "file.py:12"."""
        self.poison = poison
        self.written: Array = np.full(storage.nbytes(), written, np.bool_)
        self.complete = written or not self.written.size

    @property
    def expired(self) -> bool:
        return bool(self._reference.expired())

    def refresh(self, content: Array) -> None:
        """Take notice of writes that no one announced: a byte that is not the poison was written."""
        if content.size != self.written.size:  # resized since
            grown = np.zeros(content.size, np.bool_)
            kept = min(content.size, self.written.size)
            grown[:kept] = self.written[:kept]
            self.written = grown
        if not self.complete:
            self.written |= content != self.poison
            self.complete = bool(self.written.all())

    def of_view(self, view: torch.Tensor) -> torch.Tensor:
        """The flags of a view's first bytes as a bool tensor of the view's shape, sharing memory."""
        itemsize = view.dtype.itemsize
        steps = tuple(step * itemsize for step in view.stride())
        return torch.from_numpy(self.written).as_strided(view.shape, steps, view.storage_offset() * itemsize)

    def write(self, view: torch.Tensor, which: torch.Tensor | None = None) -> None:
        """Mark the view's elements as written: all, or where `which` (bool, the view's shape) holds."""
        if which is None:
            self._bytes_of_view(view).fill_(True)
        else:
            self._bytes_of_view(view).bitwise_or_(which.unsqueeze(-1))

    def assign(self, view: torch.Tensor, which: torch.Tensor) -> None:
        """The view's elements are as written as what was copied to them: where `which` holds."""
        self._bytes_of_view(view).copy_(which.unsqueeze(-1))
        self.complete = False

    def _bytes_of_view(self, view: torch.Tensor) -> torch.Tensor:
        itemsize = view.dtype.itemsize
        steps = (*(step * itemsize for step in view.stride()), 1)
        return torch.from_numpy(self.written).as_strided(
            (*view.shape, itemsize), steps, view.storage_offset() * itemsize
        )


class Shadows:
    """The shadows of all storages that are alive."""

    def __init__(self, poison: int) -> None:
        if not 0 <= poison <= 255:
            raise ValueError(f"expected a poison byte in 0..255, got {poison}")
        self.poison = poison
        self._by_storage: dict[int, Shadow] = {}

    def start(self, tensor: torch.Tensor, allocated: str) -> Shadow | None:
        """Fill a fresh tensor's storage with the poison and watch it; None where it is not watched."""
        storage = tensor.untyped_storage()
        if not 0 < storage.nbytes() <= LARGEST:
            return None
        bytes_of(storage).fill(self.poison)
        return self._watch(storage, allocated)

    def inherit(self, copy: torch.Tensor, flags: torch.Tensor, allocated: str) -> None:
        """A tensor was copied to, and only the elements under `flags` (bool, its shape) had been written."""
        storage = copy.untyped_storage()
        if storage.nbytes() > LARGEST:
            return
        shadow = self._by_storage.get(storage._cdata)
        if shadow is None:
            shadow = self._watch(storage, allocated, written=True)
        shadow.assign(copy, flags)
        bytes_of(storage)[~shadow.written] = self.poison

    def _watch(self, storage: torch.UntypedStorage, allocated: str, *, written: bool = False) -> Shadow:
        if len(self._by_storage) % _SWEEP == _SWEEP - 1:
            self._by_storage = {key: one for key, one in self._by_storage.items() if not one.expired}
        shadow = self._by_storage[storage._cdata] = Shadow(storage, self.poison, allocated, written=written)
        return shadow

    def find(self, tensor: torch.Tensor) -> Shadow | None:
        """The shadow of a tensor's storage, brought up to date; None where all of it counts as written."""
        return self.of_storage(tensor.untyped_storage())

    def of_storage(self, storage: torch.UntypedStorage) -> Shadow | None:
        """The same for a storage."""
        shadow = self._by_storage.get(storage._cdata)
        if shadow is None or shadow.complete:
            return None
        shadow.refresh(bytes_of(storage))
        return None if shadow.complete else shadow

    def unread(self, tensors: Sequence[torch.Tensor]) -> Iterator[tuple[torch.Tensor, Shadow]]:
        """Those of `tensors` whose storages are not written throughout."""
        for tensor in tensors:
            shadow = self.find(tensor)
            if shadow is not None:
                yield tensor, shadow
