"""PyTorch's storages as the memory of a launch: no byte is copied, and every access is checked against the
argument it came through.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from verify.triton_cpu.host.shadows import Shadow, Shadows, bytes_of, covered, is_dense
from verify.triton_cpu.memory import Arena, Buffer, Location
from verify.triton_cpu.ownership import Owners


class HostBuffer(Buffer):
    """The storage under one argument. Two arguments of one storage share its flags and its owners."""

    __slots__ = ("shadow_of_storage", "storage")

    def __init__(self, name: str, storage: torch.UntypedStorage, shadow: Shadow | None) -> None:
        written = np.empty(0, np.bool_) if shadow is None else shadow.written
        super().__init__(name, storage.data_ptr(), storage.nbytes(), bytes_of(storage), written)
        self.storage = storage
        self.shadow_of_storage = shadow
        self.complete = shadow is None

    def shadow(self, itemsize: int) -> Any:
        if not self.written.size:
            self.written = np.ones(self.nbytes, np.bool_)
        return super().shadow(itemsize)


class HostMemory(Arena):
    """What the kernels of a process touch; arguments are added before each launch."""

    def __init__(self, shadows: Shadows) -> None:
        super().__init__()
        self._shadows = shadows
        self._of_launch: list[HostBuffer] = []

    def forget_events(self) -> None:
        """Drop what was reported so far."""
        self._events = {}

    def forget_arguments(self) -> None:
        """Start a new launch's list of arguments."""
        self._of_launch = []
        self._buffers = {}

    def argument(self, name: str, tensor: torch.Tensor) -> tuple[HostBuffer, int]:
        """The buffer that a tensor argument points into, and the byte at which it does.

        Raises TypeError for a tensor without memory on the CPU.
        """
        if tensor.device.type != "cpu" or tensor.layout is not torch.strided:
            raise TypeError(
                f"expected argument {name} to be a strided tensor in memory, got one on "
                f"{tensor.device} with layout {tensor.layout}"
            )
        storage = tensor.untyped_storage()
        buffer = HostBuffer(name, storage, self._shadows.find(tensor))
        self._of_launch.append(buffer)
        self._buffers[name] = buffer
        return buffer, tensor.storage_offset() * tensor.dtype.itemsize

    def begin_launch(self, *, locate: Callable[[], Location], conflicts: bool) -> None:
        self.locate = locate
        self._tracking = conflicts
        if conflicts:
            shared: dict[int, Owners] = {}
            for buffer in self._of_launch:
                buffer.owners = shared.setdefault(buffer.base, Owners(buffer.nbytes))


def view_mask(tensor: torch.Tensor) -> Any:
    """Which bytes of its storage a tensor covers, bool, (nbytes,); None where it covers all of them."""
    itemsize, nbytes = tensor.dtype.itemsize, tensor.untyped_storage().nbytes()
    if tensor.numel() * itemsize == nbytes and is_dense(tensor.shape, tensor.stride()):
        return None
    flags = covered(tensor.shape, tensor.stride(), tensor.storage_offset(), nbytes // itemsize)
    return None if flags.all() else np.repeat(flags, itemsize)
