"""One arena for all buffers of a plan: virtual addresses, guard zones, poison, and a shadow of what was
written.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from verify.triton_cpu.memory.accesses import Memory
from verify.triton_cpu.memory.buffers import Array, Buffer
from verify.triton_cpu.memory.events import EventKind, Location, MemoryEvent

__all__ = ["GUARD_BYTES", "Arena", "Buffer", "EventKind", "Location", "Memory", "MemoryEvent"]

GUARD_BYTES = 1024
_BASE_ADDRESS = 1 << 44
_VIRTUAL_ADDRESS = 1 << 46


@dataclass(frozen=True, kw_only=True)
class _Request:
    name: str
    nbytes: int
    written: bool
    base: int


class Arena(Memory):
    """All buffers of one execution. Add every buffer, `freeze`, fill the inputs, then run launches."""

    def __init__(self, *, guard_bytes: int = GUARD_BYTES) -> None:
        super().__init__()
        self._guard = guard_bytes
        self._requests: list[_Request] = []
        self._next = _BASE_ADDRESS + guard_bytes
        self._data: Array = np.empty(0, np.uint8)
        self._poison = 0
        self._frozen = False
        self._next_virtual = _VIRTUAL_ADDRESS

    # -- construction ----------------------------------------------------------------------------------------

    def add(self, name: str, nbytes: int, *, written: bool, align: int = 256) -> Buffer:
        """Reserve `nbytes` under a new name; `written` says that its bytes count as initialised (an input).

        The buffer's `bytes` and `written` exist after `freeze`. Raises ValueError for a name that is taken, a
        negative size, an alignment that is not a power of two, or an arena that is already frozen.
        """
        if self._frozen:
            raise ValueError(f"expected buffers to be added before freeze(), got {name!r} after it")
        if name in self._buffers:
            raise ValueError(f"expected a new buffer name, got {name!r} twice")
        if nbytes < 0 or align < 1 or align & (align - 1):
            raise ValueError(f"expected nbytes >= 0 and align a power of two, got {nbytes} and {align}")
        base = -(-self._next // align) * align
        self._next = base + nbytes + self._guard
        empty = np.empty(0, np.uint8)
        buffer = Buffer(name, base, nbytes, empty, empty)
        self._buffers[name] = buffer
        self._requests.append(_Request(name=name, nbytes=nbytes, written=written, base=base))
        return buffer

    def add_virtual(self, name: str, nbytes: int) -> Buffer:
        """A written buffer of zeros, of which only the pages that a kernel touches take memory: a tensor of
        the size that a device would hold. It can be used at once, before `freeze` and after.
        """
        if name in self._buffers:
            raise ValueError(f"expected a new buffer name, got {name!r} twice")
        data, written = np.zeros(nbytes, np.uint8), np.zeros(nbytes, np.bool_)
        buffer = Buffer(name, self._next_virtual, nbytes, data, written)
        buffer.complete = True
        self._next_virtual += -(-nbytes // 4096) * 4096 + 4096
        self._buffers[name] = buffer
        return buffer

    def freeze(self, poison: int) -> None:
        """Allocate, and fill everything with the byte `poison` (0..255; 0xFF reads as NaN in every float
        dtype).
        """
        if self._frozen:
            raise ValueError("expected one freeze(), got a second")
        if not 0 <= poison <= 255:
            raise ValueError(f"expected a poison byte in 0..255, got {poison}")
        size = -(-(self._next - _BASE_ADDRESS) // 256) * 256
        raw = np.full(size + 256, poison, np.uint8)
        start = -raw.ctypes.data % 256
        self._data = raw[start : start + size]
        shadow = np.zeros(size, np.bool_)
        for request in self._requests:
            low = request.base - _BASE_ADDRESS
            buffer = self._buffers[request.name]
            buffer.bytes = self._data[low : low + request.nbytes]
            buffer.written = shadow[low : low + request.nbytes]
            buffer.written[:] = request.written
            buffer.complete = request.written or request.nbytes == 0
        self._poison = poison
        self._frozen = True

    @property
    def frozen(self) -> bool:
        return self._frozen

    # -- what a run leaves behind ----------------------------------------------------------------------------

    def uncovered(self, buffer: Buffer) -> int:
        """How many bytes of the buffer were never written."""
        return buffer.nbytes - int(np.count_nonzero(buffer.written))

    def damaged_guards(self) -> tuple[str, ...]:
        """Names of the buffers whose neighbouring guard zone no longer holds the poison."""
        bad = []
        end = 0
        for request in self._requests:
            low = request.base - _BASE_ADDRESS
            if (self._data[end:low] != self._poison).any():
                bad.append(request.name)
            end = low + request.nbytes
            if (self._data[end : end + self._guard] != self._poison).any():
                bad.append(request.name)
        return tuple(dict.fromkeys(bad))
