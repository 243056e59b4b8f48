"""One arena for all buffers of a plan: virtual addresses, guard zones, poison, and a shadow of what was
written.

A kernel's pointer is a number inside the arena's virtual range plus the buffer it came from. Every access is
checked against that buffer before a byte moves, so a wild pointer is an event and never a fault of the
process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from verify.triton_cpu.ownership import Owners, lanes_that_differ

Array = npt.NDArray[Any]
EventKind = Literal[
    "out-of-bounds load",
    "out-of-bounds store",
    "never-written read",
    "outside the view",
    "unknown pointer",
    "misaligned",
    "conflicting lanes",
    "conflict between programs",
]

GUARD_BYTES = 1024
_BASE_ADDRESS = 1 << 44
_WRITTEN_PATTERN = {size: int.from_bytes(b"\x01" * size, "little") for size in (1, 2, 4, 8)}


@dataclass(frozen=True, kw_only=True)
class MemoryEvent:
    """Accesses of one kind, by one source line of one kernel, to one buffer.

    `offset` (elements from the start of the buffer) and `program` (x, y, z) are those of the first lane seen,
    `count` is the number of lanes over the whole run; `buffer` is empty when the pointer came from no buffer.
    """

    kind: EventKind
    kernel: str
    line: int
    buffer: str
    offset: int
    count: int
    program: tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class Location:
    """Where an access happened: the kernel, its line in the mechanism's file, and the program (x, y, z)."""

    kernel: str
    line: int
    program: tuple[int, int, int]


class Buffer:
    """`nbytes` of the arena at virtual address `base`; `bytes` and `written` (one flag per byte) are views
    of it.
    """

    __slots__ = (
        *("_shadows", "_views", "argument", "base", "bytes", "complete"),
        *("name", "nbytes", "owners", "written"),
    )

    def __init__(self, name: str, base: int, nbytes: int, data: Array, written: Array) -> None:
        self.name = name
        self.base = base
        self.nbytes = nbytes
        self.bytes: Array = data
        self.written: Array = written
        self.complete = False
        self.argument = False
        """True for memory of the caller: what is not written there lies outside of the tensor's view."""
        self.owners: Owners | None = None
        self._views: dict[str, Array] = {}
        self._shadows: dict[int, Array] = {}

    def view(self, dtype: str | np.dtype[Any]) -> Array:
        """The buffer's elements, a writable array of shape (nbytes // itemsize,)."""
        key = dtype if isinstance(dtype, str) else dtype.str
        found = self._views.get(key)
        if found is None:
            size = np.dtype(key).itemsize
            found = self._views[key] = self.bytes[: self.nbytes // size * size].view(key)
        return found

    def owners_of(self) -> Owners:
        """Which programs of the running launch touched which byte."""
        if self.owners is None:
            self.owners = Owners(self.nbytes)
        return self.owners

    def shadow(self, itemsize: int) -> Array:
        """`written`, one integer per element of `itemsize` bytes; equal to 0x0101.. where all of its bytes
        are.
        """
        found = self._shadows.get(itemsize)
        if found is None:
            whole = self.written[: self.nbytes // itemsize * itemsize]
            found = self._shadows[itemsize] = whole.view(f"u{itemsize}")
        return found


@dataclass(frozen=True, kw_only=True)
class _Request:
    name: str
    nbytes: int
    written: bool
    base: int


class _Lanes:
    """What survives the checks of one access: element indices, and which lanes are live (None: all)."""

    __slots__ = ("bad", "index", "live")

    def __init__(self, index: Array, live: Array | None, bad: Array | None) -> None:
        self.index = index
        self.live = live
        self.bad = bad


class Arena:
    """All buffers of one execution. Add every buffer, `freeze`, fill the inputs, then run launches."""

    def __init__(self, *, guard_bytes: int = GUARD_BYTES) -> None:
        self._guard = guard_bytes
        self._requests: list[_Request] = []
        self._buffers: dict[str, Buffer] = {}
        self._next = _BASE_ADDRESS + guard_bytes
        self._data: Array = np.empty(0, np.uint8)
        self._poison = 0
        self._frozen = False
        self._events: dict[tuple[str, str, int, str], MemoryEvent] = {}
        self._tracking = False
        self.locate: Callable[[], Location] = lambda: Location(kernel="", line=0, program=(0, 0, 0))
        self.program_number = 0

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
    def buffers(self) -> tuple[Buffer, ...]:
        return tuple(self._buffers.values())

    @property
    def frozen(self) -> bool:
        return self._frozen

    def __getitem__(self, name: str) -> Buffer:
        return self._buffers[name]

    # -- what a run leaves behind ----------------------------------------------------------------------------

    @property
    def events(self) -> tuple[MemoryEvent, ...]:
        """Everything that went wrong so far, in order of first occurrence."""
        return tuple(self._events.values())

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

    # -- one launch ------------------------------------------------------------------------------------------

    def begin_launch(self, *, locate: Callable[[], Location], conflicts: bool) -> None:
        """Called by the launcher: `conflicts` switches the shadow of readers and writers on (costs about
        20%).
        """
        self.locate = locate
        self._tracking = conflicts
        for buffer in self._buffers.values():
            if not buffer.complete:
                buffer.complete = bool(buffer.written.all())
            buffer.owners = None

    # -- accesses --------------------------------------------------------------------------------------------

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
        """Elements at `addresses` (uint64, any shape) where `mask` holds; `fill` elsewhere, `poison` where
        refused.
        """
        lanes = self._check(addresses, mask, dtype.itemsize, buffer, "load")
        shape = addresses.shape
        if lanes is None or buffer is None:
            refused = mask if mask is not None else np.ones(shape, np.bool_)
            return np.where(refused, np.asarray(poison, dtype), fill).astype(dtype, copy=False)
        if lanes.index.size == 0:
            return np.broadcast_to(np.asarray(fill, dtype), shape).copy()
        out = buffer.view(dtype).take(lanes.index, mode="clip")
        if not buffer.complete:
            self._check_written(buffer, dtype.itemsize, lanes)
        if self._tracking:
            self._note_read(buffer, dtype.itemsize, lanes)
        if lanes.live is not None:
            out = np.where(lanes.live, out, fill).astype(dtype, copy=False)
            if lanes.bad is not None:
                out[lanes.bad] = poison
        return out

    def store(self, addresses: Array, values: Array, mask: Array | None, buffer: Buffer | None) -> None:
        """Write `values` (raw dtype, broadcast to the addresses) where `mask` holds and the address is
        legal.
        """
        lanes = self._check(addresses, mask, values.dtype.itemsize, buffer, "store")
        if lanes is None or buffer is None or lanes.index.size == 0:
            return
        index = lanes.index
        if values.shape != addresses.shape:
            values = np.broadcast_to(values, addresses.shape)
        if lanes.live is not None:
            index, values = index[lanes.live], values[lanes.live]
        itemsize = values.dtype.itemsize
        if self._tracking:
            self._note_write(buffer, itemsize, index, values)
        buffer.view(values.dtype)[index] = values
        if not buffer.complete:
            buffer.shadow(itemsize)[index] = _WRITTEN_PATTERN[itemsize]

    def atomic(
        self,
        addresses: Array,
        operands: Sequence[Array],
        mask: Array | None,
        dtype: np.dtype[Any],
        buffer: Buffer | None,
        combine: Callable[..., Array],
        *,
        poison: Any,
    ) -> Array:
        """Read-modify-write: new = combine(old, *operands), lane after lane where two lanes share an address.

        Returns the old values (`poison` where refused, 0 where masked off). `combine` maps raw arrays to raw
        arrays.
        """
        shape = addresses.shape
        lanes = self._check(addresses, mask, dtype.itemsize, buffer, "store")
        if lanes is None or buffer is None or lanes.index.size == 0:
            return np.full(shape, poison if lanes is None else 0, dtype)
        live = lanes.live if lanes.live is not None else np.ones(shape, np.bool_)
        index = lanes.index[live]
        flat = [np.broadcast_to(x, shape)[live] for x in operands]
        if not buffer.complete:
            self._check_written(buffer, dtype.itemsize, lanes)
        view = buffer.view(dtype)
        if np.unique(index).size == index.size:
            old = view[index]
            view[index] = combine(old, *flat)
        else:
            old = np.empty(index.shape, dtype)
            for lane in range(index.size):
                at = index[lane : lane + 1]
                old[lane : lane + 1] = view[at]
                view[at] = combine(view[at], *(x[lane : lane + 1] for x in flat))
        buffer.shadow(dtype.itemsize)[index] = _WRITTEN_PATTERN[dtype.itemsize]
        out = np.zeros(shape, dtype)
        out[live] = old
        if lanes.bad is not None:
            out[lanes.bad] = poison
        return out

    def report(self, kind: EventKind, buffer: str, offset: int, count: int) -> None:
        """Record `count` lanes of an event at the place the launcher names; repeats of a line are added
        up.
        """
        place = self.locate()
        key = (kind, place.kernel, place.line, buffer)
        seen = self._events.get(key)
        if seen is None:
            self._events[key] = MemoryEvent(
                kind=kind,
                kernel=place.kernel,
                line=place.line,
                buffer=buffer,
                offset=offset,
                count=count,
                program=place.program,
            )
        else:
            self._events[key] = MemoryEvent(
                kind=kind,
                kernel=seen.kernel,
                line=seen.line,
                buffer=buffer,
                offset=seen.offset,
                count=seen.count + count,
                program=seen.program,
            )

    # -- checks ----------------------------------------------------------------------------------------------

    def _check(
        self, addresses: Array, mask: Array | None, itemsize: int, buffer: Buffer | None, what: str
    ) -> _Lanes | None:
        """Element indices of the live lanes, or None when no lane may be touched because the pointer is
        unknown.
        """
        if mask is not None:
            if mask.shape != addresses.shape:
                mask = np.broadcast_to(mask, addresses.shape)
            if mask.all():
                mask = None
            elif not mask.any():
                return _Lanes(np.empty(0, np.int64), mask, None)
        if buffer is None:
            count = addresses.size if mask is None else int(np.count_nonzero(mask))
            self.report("unknown pointer", "", 0, count)
            return None
        offsets = addresses.view(np.int64) - buffer.base
        if mask is not None:
            offsets = np.where(mask, offsets, offsets.flat[int(mask.argmax())])
        bad: Array | None = None
        if offsets.size and (
            int(offsets.min()) < 0
            or int(offsets.max()) + itemsize > buffer.nbytes
            or int(np.bitwise_or.reduce(offsets, axis=None)) & (itemsize - 1)
        ):
            offsets, mask, bad = self._refuse(offsets, mask, itemsize, buffer, what)
            if not mask.any():
                return (
                    _Lanes(np.zeros(addresses.shape, np.int64), mask, bad)
                    if buffer.nbytes >= itemsize
                    else None
                )
        if itemsize > 1:
            offsets = offsets >> (itemsize.bit_length() - 1)
        return _Lanes(offsets, mask, bad)

    def _refuse(
        self, offsets: Array, mask: Array | None, itemsize: int, buffer: Buffer, what: str
    ) -> tuple[Array, Array, Array]:
        live = mask if mask is not None else np.ones(offsets.shape, np.bool_)
        outside = live & ((offsets < 0) | (offsets > buffer.nbytes - itemsize))
        if outside.any():
            kind: EventKind = "out-of-bounds load" if what == "load" else "out-of-bounds store"
            first = int(offsets[outside].flat[0])
            self.report(kind, buffer.name, first // itemsize, int(np.count_nonzero(outside)))
        crooked = live & ~outside & ((offsets & (itemsize - 1)) != 0)
        if crooked.any():
            first = int(offsets[crooked].flat[0])
            self.report("misaligned", buffer.name, first // itemsize, int(np.count_nonzero(crooked)))
        bad = outside | crooked
        live = live & ~bad
        return np.where(live, offsets, 0), live, bad

    def _check_written(self, buffer: Buffer, itemsize: int, lanes: _Lanes) -> None:
        good = buffer.shadow(itemsize).take(lanes.index, mode="clip") == _WRITTEN_PATTERN[itemsize]
        if lanes.live is not None:
            good |= ~lanes.live
        if not good.all():
            first = int(lanes.index[~good].flat[0])
            kind: EventKind = "outside the view" if buffer.argument else "never-written read"
            self.report(kind, buffer.name, first, good.size - int(np.count_nonzero(good)))

    def _note_read(self, buffer: Buffer, itemsize: int, lanes: _Lanes) -> None:
        index = lanes.index if lanes.live is None else lanes.index[lanes.live]
        foreign = buffer.owners_of().read(index * itemsize, self.program_number)
        if foreign.any():
            self.report(
                "conflict between programs", buffer.name, int(index[foreign].flat[0]), _count(foreign)
            )

    def _note_write(self, buffer: Buffer, itemsize: int, index: Array, values: Array) -> None:
        foreign = buffer.owners_of().write(index * itemsize, self.program_number)
        if foreign.any():
            # Programs that agree on a value do not depend on their order: a benign overlap, and a common one.
            bits = f"u{itemsize}"
            foreign &= buffer.view(bits)[index] != np.ascontiguousarray(values).view(bits)
        if foreign.any():
            self.report(
                "conflict between programs", buffer.name, int(index[foreign].flat[0]), _count(foreign)
            )
        differs = lanes_that_differ(index.ravel(), values)
        if differs.any():
            self.report("conflicting lanes", buffer.name, int(index.ravel()[differs][0]), _count(differs))


def _count(flags: Array) -> int:
    return int(np.count_nonzero(flags))
