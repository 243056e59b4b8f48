"""PyTorch's storages as the memory of a launch: no byte is copied, and every access is checked against the
argument it came through.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.multiprocessing.reductions import StorageWeakRef

from verify.triton_cpu.host.shadows import LARGEST, Shadow, Shadows, bytes_of, covered, is_dense
from verify.triton_cpu.memory.accesses import Memory
from verify.triton_cpu.memory.buffers import Array, Buffer

_NOTHING: Array = np.empty(0, np.bool_)


class StorageBuffer(Buffer):
    """The storage under one argument. Two arguments of one storage share its flags; `memory` is the name of
    the first of them.
    """

    __slots__ = ()

    def __init__(self, name: str, storage: torch.UntypedStorage, shadow: Shadow | None, memory: str) -> None:
        written = _NOTHING if shadow is None else shadow.written
        super().__init__(name, storage.data_ptr(), storage.nbytes(), bytes_of(storage), written)
        self.memory = memory
        self.complete = shadow is None


class TorchMemory(Memory):
    """What the kernels of a process touch; arguments are added before each launch."""

    def __init__(self, shadows: Shadows, *, views: bool) -> None:
        super().__init__()
        self._shadows = shadows
        self._views = views
        self._touched: dict[int, str] = {}  # address of a storage -> its name in this launch
        self._given: dict[int, StorageWeakRef] = {}

    def give_address(self, tensor: torch.Tensor) -> None:
        """Host code has asked for a tensor's address: kernels may find it in a table."""
        storage = tensor.untyped_storage()
        if storage.nbytes():
            self._given[storage._cdata] = StorageWeakRef(storage)

    def _reachable(self) -> Iterator[Buffer]:
        """The launch's buffers, then the storages whose addresses were given out."""
        yield from list(self._buffers.values())
        for key, reference in list(self._given.items()):
            alive = not reference.expired()
            storage = torch.UntypedStorage._new_with_weak_ptr(reference.cdata) if alive else None
            if storage is None:
                del self._given[key]
            elif storage.data_ptr() not in self._touched:
                name = f"memory {len(self._touched)} by its address"
                yield StorageBuffer(name, storage, self._shadows.of_storage(storage), name)

    def _parts(self, addresses: Array, mask: Array | None) -> Iterator[tuple[Array, Array, Buffer | None]]:
        """An access through pointers of no one argument (from a table, or chosen among arguments), cut by
        what they point to: (addresses, mask, buffer); the last without a buffer, for what is left.
        """
        live = np.ones(addresses.shape, np.bool_) if mask is None else mask
        addresses, live = np.broadcast_arrays(addresses, live)
        for buffer in self._reachable():
            inside = live & (addresses >= buffer.base) & (addresses < buffer.base + buffer.nbytes)
            if inside.any():
                self._buffers.setdefault(buffer.name, buffer)
                self._touched.setdefault(buffer.base, buffer.memory)
                yield addresses, inside, buffer
                live = live & ~inside
        yield addresses, live, None  # also where nothing is left, so that there always is a part

    def load(
        self,
        addresses: Array,
        mask: Array | None,
        dtype: np.dtype[Any],
        buffer: Buffer | None,
        *,
        fill: Any,
        poison: Any,
    ) -> Array:
        if buffer is not None:
            return super().load(addresses, mask, dtype, buffer, fill=fill, poison=poison)
        out = np.empty((), dtype)
        for places, inside, found in self._parts(addresses, mask):
            part = super().load(places, inside, dtype, found, fill=fill, poison=poison)
            out = np.where(inside, part, out) if out.ndim else part
        return out

    def store(self, addresses: Array, values: Array, mask: Array | None, buffer: Buffer | None) -> None:
        if buffer is not None:
            super().store(addresses, values, mask, buffer)
            return
        programs = max(addresses.shape[0], values.shape[0])
        wide = np.broadcast_to(addresses, (programs, *addresses.shape[1:]))
        for places, inside, found in self._parts(wide, mask):
            super().store(places, values, inside, found)

    def atomic(
        self,
        addresses: Array,
        operands: Sequence[Array],
        mask: Array | None,
        dtype: np.dtype[Any],
        buffer: Buffer | None,
        *how: Any,
        **options: Any,
    ) -> Array:
        if buffer is not None:
            return super().atomic(addresses, operands, mask, dtype, buffer, *how, **options)
        out = np.empty((), dtype)
        for places, inside, found in self._parts(addresses, mask):
            part = super().atomic(places, operands, inside, dtype, found, *how, **options)
            out = np.where(inside, part, out) if out.ndim else part
        return out

    def forget_events(self) -> None:
        """Drop what was reported so far."""
        self._events = {}

    def forget_arguments(self) -> None:
        """Start a new launch's list of arguments."""
        self._buffers = {}
        self._touched = {}

    def argument(self, name: str, tensor: torch.Tensor) -> tuple[StorageBuffer, int]:
        """The buffer that a tensor argument points into, and the byte at which it does.

        Raises TypeError for a tensor without memory on the CPU.
        """
        if tensor.device.type != "cpu" or tensor.layout is not torch.strided:
            raise TypeError(
                f"expected argument {name} to be a strided tensor in memory, got one on "
                f"{tensor.device} with layout {tensor.layout}"
            )
        storage = tensor.untyped_storage()
        memory = self._touched.setdefault(storage.data_ptr(), name)
        buffer = StorageBuffer(name, storage, self._shadows.find(tensor), memory)
        if self._views:
            buffer.legal = view_mask(tensor)
        self._buffers[name] = buffer
        return buffer, tensor.storage_offset() * tensor.dtype.itemsize


def view_mask(tensor: torch.Tensor) -> Array | None:
    """Which bytes of its storage a tensor covers, bool, (nbytes,); None where it covers all of them, or they
    are too many to note.
    """
    itemsize, nbytes = tensor.dtype.itemsize, tensor.untyped_storage().nbytes()
    if nbytes > LARGEST:
        return None
    if tensor.numel() * itemsize == nbytes and is_dense(tensor.shape, tensor.stride()):
        return None
    flags = covered(tensor.shape, tensor.stride(), tensor.storage_offset(), nbytes // itemsize)
    if flags.all():
        return None
    mask = np.zeros(nbytes, np.bool_)
    mask[: flags.size * itemsize] = np.repeat(flags, itemsize)
    return mask
