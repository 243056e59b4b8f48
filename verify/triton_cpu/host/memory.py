"""PyTorch's storages as the memory of a launch: no byte is copied, and every access is checked against the
argument it came through.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.multiprocessing.reductions import StorageWeakRef

from verify.triton_cpu.accesses import Memory
from verify.triton_cpu.buffers import Array, Buffer
from verify.triton_cpu.host.shadows import Shadow, Shadows, bytes_of, covered, is_dense
from verify.triton_cpu.ownership import Owners

_NOTHING: Array = np.empty(0, np.bool_)


class _Touched:
    """Which programs touched one storage, for all arguments that lie in it; the first gives it its name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.owners: Owners | None = None


class StorageBuffer(Buffer):
    """The storage under one argument. Two arguments of one storage share its flags and its owners."""

    __slots__ = ("touched",)

    def __init__(
        self, name: str, storage: torch.UntypedStorage, shadow: Shadow | None, touched: _Touched
    ) -> None:
        written = _NOTHING if shadow is None else shadow.written
        super().__init__(name, storage.data_ptr(), storage.nbytes(), bytes_of(storage), written)
        self.memory = touched.name
        self.complete = shadow is None
        self.touched = touched

    def owners_of(self, itemsize: int) -> Owners:
        if self.touched.owners is None:
            self.touched.owners = Owners(self.nbytes, itemsize)
        return self.touched.owners


class TorchMemory(Memory):
    """What the kernels of a process touch; arguments are added before each launch."""

    def __init__(self, shadows: Shadows, *, views: bool) -> None:
        super().__init__()
        self._shadows = shadows
        self._views = views
        self._touched: dict[int, _Touched] = {}
        self._given: dict[int, StorageWeakRef] = {}

    def give_address(self, tensor: torch.Tensor) -> None:
        """Host code has asked for a tensor's address: kernels may find it in a table."""
        storage = tensor.untyped_storage()
        if storage.nbytes():
            self._given[storage._cdata] = StorageWeakRef(storage)

    def pointed(self, addresses: Array) -> Buffer | None:
        lowest, highest = int(addresses.min()), int(addresses.max())
        for key, reference in list(self._given.items()):
            storage = None if reference.expired() else torch.UntypedStorage._new_with_weak_ptr(reference.cdata)
            if storage is None:
                del self._given[key]
            elif storage.data_ptr() <= lowest <= highest < storage.data_ptr() + storage.nbytes():
                return self._pointed_buffer(storage)
        return None

    def _pointed_buffer(self, storage: torch.UntypedStorage) -> Buffer:
        touched = self._touched.setdefault(storage.data_ptr(), _Touched(f"address {len(self._touched)}"))
        name = f"{touched.name}, by its address"
        if name not in self._buffers:
            shadow = self._shadows.of_storage(storage)
            self._buffers[name] = StorageBuffer(name, storage, shadow, touched)
        return self._buffers[name]

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
        touched = self._touched.setdefault(storage.data_ptr(), _Touched(name))
        buffer = StorageBuffer(name, storage, self._shadows.find(tensor), touched)
        if self._views:
            buffer.legal = view_mask(tensor)
        self._buffers[name] = buffer
        return buffer, tensor.storage_offset() * tensor.dtype.itemsize


def view_mask(tensor: torch.Tensor) -> Array | None:
    """Which bytes of its storage a tensor covers, bool, (nbytes,); None where it covers all of them."""
    itemsize, nbytes = tensor.dtype.itemsize, tensor.untyped_storage().nbytes()
    if tensor.numel() * itemsize == nbytes and is_dense(tensor.shape, tensor.stride()):
        return None
    flags = covered(tensor.shape, tensor.stride(), tensor.storage_offset(), nbytes // itemsize)
    if flags.all():
        return None
    mask = np.zeros(nbytes, np.bool_)
    mask[: flags.size * itemsize] = np.repeat(flags, itemsize)
    return mask
