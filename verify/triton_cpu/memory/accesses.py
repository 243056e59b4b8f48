"""Every load, store and atomic of a kernel, checked before a byte moves.

A kernel's pointer is a number plus the buffer it came from, so a wild pointer is an event and never a fault
of the process. Arrays have the programs of the running group as their first axis, or 1 where all agree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from verify.triton_cpu.memory.buffers import WRITTEN, Array, Buffer
from verify.triton_cpu.memory.events import EventKind, Location
from verify.triton_cpu.memory.hazards import Hazard, Hazards, Store, bits_of
from verify.triton_cpu.memory.reporting import FEW, Reporting

LARGEST_KEPT = 1 << 25
"""Bytes of a buffer that any launch may have to put back: what is larger is not worth copying..."""
KEPT_FOR_A_PROGRAM = 1 << 13
"""...except for the time that many programs save by running together (8 KiB are copied in 2 us)."""


class Repeat(Exception):
    """The launch must run again, in another way: `alone` one program after another, else with the reads of
    `buffer` noted from the start.
    """

    def __init__(self, *, alone: bool, buffer: str = "") -> None:
        super().__init__("alone" if alone else f"with the reads of {buffer} noted")
        self.alone = alone
        self.buffer = buffer


class Recorder(Protocol):
    """Something that wants to see every access, one program at a time."""

    def access(self, buffer: Buffer, offsets: Array, itemsize: int, kind: str) -> None:
        """`offsets` (1, lanes): bytes from the start of the buffer; `kind` is "load", "store" or "atomic"."""


class _Lanes:
    """What survives the checks of one access: element indices, and which lanes are live (None: all)."""

    __slots__ = ("bad", "index", "live")

    def __init__(self, index: Array, live: Array | None, bad: Array | None) -> None:
        self.index = index
        self.live = live
        self.bad = bad


class Memory(Reporting):
    """The buffers that kernels can reach, wherever their bytes lie."""

    def __init__(self) -> None:
        super().__init__()
        self._buffers: dict[str, Buffer] = {}
        self.recorder: Recorder | None = None
        self.in_groups = False
        """Programs run in groups, and groups in no order, a group of one program too: what depends on the
        order, events among it, needs another run.
        """
        self._hazards = Hazards(self._hazard)
        self._tracking = False
        self._noted: frozenset[str] | None = frozenset()
        # Names of memory, not of buffers: several of these can lie in one of those.
        self._kept: dict[str, tuple[Buffer, Array, Array, bool]] | None = None
        self._loaded: set[str] = set()  # by the running launch
        self._stored: set[str] = set()  # by the running group
        self._written_to: set[str] = set()  # by the running launch
        self._kept_events = self._events

    @property
    def buffers(self) -> tuple[Buffer, ...]:
        return tuple(self._buffers.values())

    def __getitem__(self, name: str) -> Buffer:
        return self._buffers[name]

    # -- one launch ------------------------------------------------------------------------------------------

    def begin_launch(
        self,
        *,
        locate: Callable[[], Location],
        grid: tuple[int, int, int],
        conflicts: bool,
        noted: frozenset[str] | None,
        revocable: bool,
        parameters: Mapping[str, str] | None = None,
    ) -> None:
        """Called by the launcher. `conflicts` looks for accesses whose order is open; `noted` names the
        buffers whose reads matter to that (None: all). `revocable` keeps what `revoke` puts back.
        `parameters` maps names of buffers to those of the kernel's parameters that point into them.
        """
        self.locate, self._grid, self._tracking, self._noted = locate, grid, conflicts, noted
        self._parameters = parameters or {}
        self._kept = {} if revocable else None
        self._kept_events = dict(self._events)
        self._hazards.begin(grid[0] * grid[1] * grid[2])
        for buffer in self._buffers.values():
            if not buffer.complete:
                buffer.complete = bool(buffer.written.all())
        self._loaded, self._stored, self._written_to = set(), set(), set()
        self.in_groups = False

    def begin_group(self, numbers: Array) -> None:
        """The programs (p,) whose accesses follow."""
        self._numbers = numbers
        self._hazards.group(numbers)
        self._stored = set()

    def end_launch(self) -> None:
        """Called by the launcher: nothing will be revoked any more."""
        self._kept = None

    def report(self, kind: EventKind, buffer: str, offset: int, count: int, *args: Any, **more: Any) -> None:
        if self.in_groups:
            raise Repeat(alone=True)  # one program after another says what the first is, and how many
        super().report(kind, buffer, offset, count, *args, **more)

    def barrier(self) -> None:
        """The threads of each running program have waited for one another."""
        self._hazards.barrier()

    def updated_in_place(self) -> bool:
        """Whether the running group wrote to memory that this launch reads: repeating it would not be the
        same.
        """
        return not self._stored.isdisjoint(self._loaded)

    def revoke(self) -> None:
        """Undo what the launch did to buffers and events."""
        for buffer, data, written, complete in (self._kept or {}).values():
            buffer.bytes[:] = data
            buffer.written[:] = written
            buffer.complete = complete
        self._kept = {}
        self._events = dict(self._kept_events)

    def _keep(self, buffer: Buffer) -> None:
        name = buffer.memory
        if self._kept is not None and name not in self._kept:
            self._kept[name] = (buffer, buffer.bytes.copy(), buffer.written.copy(), buffer.complete)
        self._stored.add(name)
        self._written_to.add(name)

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
        """Elements at `addresses` (p, ...) where `mask` holds; `fill` elsewhere, `poison` where refused."""
        addresses, mask = _together(addresses, mask)
        lanes = self._check(addresses, mask, dtype.itemsize, buffer, "load")
        shape = addresses.shape
        if lanes is None or buffer is None:
            refused = mask if mask is not None else np.ones(shape, np.bool_)
            return np.where(refused, np.asarray(poison, dtype), fill).astype(dtype, copy=False)
        if lanes.index.size == 0:
            whole = np.broadcast_shapes(shape, np.shape(fill))
            return np.broadcast_to(np.asarray(fill, dtype), whole).copy()
        out = buffer.view(dtype).take(lanes.index, mode="clip")
        if not buffer.complete or buffer.legal is not None:
            self._check_contents(buffer, dtype.itemsize, lanes)
        if self._tracking:
            self._note_read(buffer, dtype.itemsize, lanes)
        self._loaded.add(buffer.memory)
        if self.recorder is not None:
            self._record(buffer, dtype.itemsize, lanes, "load")
        if lanes.live is not None:
            out = np.where(lanes.live, out, fill).astype(dtype, copy=False)
            if lanes.bad is not None:
                out[np.broadcast_to(lanes.bad, out.shape)] = poison
        return out

    def store(self, addresses: Array, values: Array, mask: Array | None, buffer: Buffer | None) -> None:
        """Write `values` (raw dtype, (p, ...)) where `mask` holds and the address is legal."""
        addresses, mask = _together(addresses, mask)
        itemsize = values.dtype.itemsize
        if values.shape[0] > addresses.shape[0]:
            addresses = np.broadcast_to(addresses, (values.shape[0], *addresses.shape[1:]))
            mask = None if mask is None else np.broadcast_to(mask, addresses.shape)
        lanes = self._check(addresses, mask, itemsize, buffer, "store")
        if lanes is None or buffer is None or lanes.index.size == 0:
            return
        index = lanes.index
        if values.shape != addresses.shape:
            values = np.broadcast_to(values, addresses.shape)
        self._keep(buffer)
        if buffer.legal is not None:
            self._check_legal(buffer, itemsize, lanes)
        if self.recorder is not None:
            self._record(buffer, itemsize, lanes, "store")
        if lanes.live is not None:
            index, values = index[lanes.live], values[lanes.live]
        store = self._note_write(buffer, lanes, index, values) if self._tracking else None
        raw = buffer.view(values.dtype)
        raw[index] = values
        if store is not None:
            store.done(raw, index, values)
        if not buffer.complete:
            buffer.shadow(itemsize)[index] = WRITTEN[itemsize]
            buffer.stored_at = self.locate()

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
        what: str,
    ) -> Array:
        """Read-modify-write of one program: new = combine(old, *operands), lane after lane where two lanes
        share an address.

        Returns the old values (`poison` where refused, 0 where masked off). `combine` maps raw arrays to raw
        arrays; `what` names it ("add", "fadd", "xchg", ...).
        """
        addresses, mask = _together(addresses, mask)
        shape = addresses.shape
        lanes = self._check(addresses, mask, dtype.itemsize, buffer, "store")
        if lanes is None or buffer is None or lanes.index.size == 0:
            return np.full(shape, poison if lanes is None else 0, dtype)
        live = lanes.live if lanes.live is not None else np.ones(shape, np.bool_)
        index = lanes.index[live]
        flat = [np.broadcast_to(x, shape)[live] for x in operands]
        self._keep(buffer)
        if not buffer.complete or buffer.legal is not None:
            self._check_contents(buffer, dtype.itemsize, lanes)
        if self.recorder is not None:
            self._record(buffer, dtype.itemsize, lanes, "atomic")
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
        if what == "fadd":
            self._flag("float atomic", buffer, live, lanes.index)
        if self._tracking:
            line, changed = self.locate().line, bits_of(combine(old, *flat)) != bits_of(old)
            self._hazards.atomic(buffer, lanes.index, lanes.live, dtype.itemsize, line, what, changed)
        if not buffer.complete:
            buffer.shadow(dtype.itemsize)[index] = WRITTEN[dtype.itemsize]
            buffer.stored_at = self.locate()
        out = np.zeros(shape, dtype)
        out[live] = old
        if lanes.bad is not None:
            out[lanes.bad] = poison
        return out

    def _record(self, buffer: Buffer, itemsize: int, lanes: _Lanes, kind: str) -> None:
        index = lanes.index if lanes.live is None else lanes.index[lanes.live]
        if self.recorder is not None:
            self.recorder.access(buffer, index.reshape(1, -1) * itemsize, itemsize, kind)

    # -- checks ----------------------------------------------------------------------------------------------

    def _check(
        self, addresses: Array, mask: Array | None, itemsize: int, buffer: Buffer | None, what: str
    ) -> _Lanes | None:
        """Offsets into the buffer of the lanes that may go through; None where no lane may."""
        if mask is not None:
            if mask.all():
                mask = None
            elif not mask.any():
                return _Lanes(np.empty(0, np.int64), mask, None)
        if buffer is None:
            count = addresses.size if mask is None else int(np.count_nonzero(mask))
            self.report("unknown pointer", "", 0, count)
            return None
        offsets = addresses - buffer.base
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
            self._flag(kind, buffer, outside, offsets // itemsize)
        crooked = live & ~outside & ((offsets & (itemsize - 1)) != 0)
        if crooked.any():
            self._flag("misaligned", buffer, crooked, offsets // itemsize)
        bad = outside | crooked
        live = live & ~bad
        return np.where(live, offsets, 0), live, bad

    def _check_contents(self, buffer: Buffer, itemsize: int, lanes: _Lanes) -> None:
        if buffer.legal is not None:
            self._check_legal(buffer, itemsize, lanes)
        if not buffer.complete:
            bad = buffer.shadow(itemsize).take(lanes.index, mode="clip") != WRITTEN[itemsize]
            if lanes.live is not None:
                bad &= lanes.live
            if bad.any():
                self._flag("never-written read", buffer, bad, lanes.index)

    def _check_legal(self, buffer: Buffer, itemsize: int, lanes: _Lanes) -> None:
        legal = buffer.legal_shadow(itemsize)
        if legal is None:
            return
        bad = legal.take(lanes.index, mode="clip") != WRITTEN[itemsize]
        if lanes.live is not None:
            bad &= lanes.live
        if bad.any():
            self._flag("outside the view", buffer, bad, lanes.index)

    # -- order -----------------------------------------------------------------------------------------------

    def _note_read(self, buffer: Buffer, itemsize: int, lanes: _Lanes) -> None:
        if self._noted is not None and buffer.memory not in self._noted:
            if buffer.memory in self._written_to:
                raise Repeat(alone=False, buffer=buffer.memory)
            return
        self._hazards.read(buffer, lanes.index, lanes.live, itemsize, self.locate().line)

    def _note_write(self, buffer: Buffer, lanes: _Lanes, index: Array, values: Array) -> Store | None:
        """Look at a store before it happens; what is returned wants to see the bytes that it leaves."""
        if buffer.memory in self._loaded and self._noted is not None and buffer.memory not in self._noted:
            raise Repeat(alone=False, buffer=buffer.memory)
        if len(lanes.index) != len(self._numbers):  # every program of the group writes the same elements
            raise Repeat(alone=True)
        itemsize = values.dtype.itemsize
        store = self._hazards.write(buffer, lanes.index, lanes.live, itemsize, self.locate().line)
        store.check(buffer.view(values.dtype), index, values)
        if not store.shared():
            return None
        if self.in_groups:
            raise Repeat(alone=True)
        return store

    def _hazard(self, buffer: Buffer, hazard: Hazard) -> None:
        self.report(
            hazard.kind,
            buffer.name,
            hazard.offsets[0],
            hazard.count,
            offsets=hazard.offsets[:FEW],
            line=hazard.line,
            number=hazard.program,
            other_line=hazard.other_line,
            other_program=hazard.other_program,
        )


def _together(addresses: Array, mask: Array | None) -> tuple[Array, Array | None]:
    """Addresses and mask with the same number of programs."""
    if mask is None or mask.shape == addresses.shape:
        return addresses, mask
    shape = np.broadcast_shapes(addresses.shape, mask.shape)
    return np.broadcast_to(addresses, shape), np.broadcast_to(mask, shape)
