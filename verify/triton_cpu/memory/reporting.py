"""What a memory has to say: events, each told once for every line and buffer, with the first lanes seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from verify.triton_cpu.memory.buffers import WRITTEN, Array, Buffer
from verify.triton_cpu.memory.events import EventKind, Location, MemoryEvent

Events = dict[tuple[str, str, int, str], MemoryEvent]

FEW = 4
"""Offsets that an event names."""


def _nowhere() -> Location:
    return Location(kernel="", line=0)


class Reporting:
    """Collects events. Whoever runs a launch sets where it is (`locate`), and which programs run."""

    def __init__(self) -> None:
        self.locate: Callable[[], Location] = _nowhere
        self._events: Events = {}
        self._grid = (1, 1, 1)
        self._parameters: Mapping[str, str] = {}
        self._numbers: Array = np.zeros(1, np.int64)

    @property
    def events(self) -> tuple[MemoryEvent, ...]:
        """Everything that went wrong so far, in order of first occurrence."""
        return tuple(self._events.values())

    def saved_events(self) -> Events:
        """The events as they are, for `restore_events`."""
        return dict(self._events)

    def restore_events(self, saved: Events) -> None:
        """Forget what was reported since `saved`."""
        self._events = dict(saved)

    def report(
        self,
        kind: EventKind,
        buffer: str,
        offset: int,
        count: int,
        program: int = 0,
        *,
        offsets: tuple[int, ...] = (),
        line: int | None = None,
        number: int | None = None,
        other_line: int = 0,
        other_program: int | None = None,
    ) -> None:
        """Record `count` lanes of an event at the place the launcher names; repeats of a line are added up.

        `program` is the place of the first of them in the running group, `offsets` the first few elements
        (`offset` alone if there are none). `line` and `number`, a linear program number, are given where they
        are not those of the access that runs. `other_program` is a linear number, too.
        """
        place = self.locate()
        line = place.line if line is None else line
        key = (kind, place.kernel, line, buffer)
        seen = self._events.get(key)
        if seen is not None:
            self._events[key] = replace(seen, count=seen.count + count)
            return
        self._events[key] = MemoryEvent(
            kind=kind,
            kernel=place.kernel,
            line=line,
            buffer=buffer,
            offset=offset,
            count=count,
            program=self._coordinates(int(self._numbers[program]) if number is None else number),
            argument=self._parameters.get(buffer, ""),
            offsets=offsets or (offset,),
            other_line=other_line,
            other_program=None if other_program is None else self._coordinates(other_program),
        )

    def check_coverage(self, buffer: Buffer, itemsize: int) -> None:
        """Report the elements of the caller's tensor that nothing has written, at the last store to it."""
        bad = buffer.shadow(itemsize) != WRITTEN[itemsize]
        legal = buffer.legal_shadow(itemsize)
        if legal is not None:
            bad &= legal == WRITTEN[itemsize]
        self.report_uncovered(buffer, buffer.name, bad)

    def report_uncovered(self, buffer: Buffer, name: str, missing: Array) -> None:
        """Report the elements `missing` (flat) of a tensor `name` that lies in the buffer, if any."""
        places = np.nonzero(missing)[0]
        if places.size:
            kind: EventKind = "uncovered output"
            at = buffer.stored_at or _nowhere()
            few = tuple(int(place) for place in places[:FEW])
            self._events[kind, at.kernel, at.line, name] = MemoryEvent(
                kind=kind,
                kernel=at.kernel,
                line=at.line,
                buffer=name,
                offset=few[0],
                count=places.size,
                program=(0, 0, 0),
                argument=self._parameters.get(buffer.name, ""),
                offsets=few,
            )

    def report_overflow(
        self,
        addresses: Array,
        exact: Array,
        mask: Array | None,
        buffer: Buffer | None,
        itemsize: int,
        line: int,
    ) -> None:
        """Report the live lanes of an access whose address (p, ...) is not the `exact` one: an offset wrapped
        at `line`. What is reported as offset is the exact one, in elements of `itemsize` bytes, where the
        arrays hold addresses, and what they hold where they do not (`itemsize` 0).
        """
        wrong = addresses != exact
        if mask is not None:
            wrong, mask, exact = np.broadcast_arrays(wrong, mask, exact)
            wrong = wrong & mask
        if wrong.any():
            base, name = (0, "") if buffer is None else (buffer.base, buffer.name)
            offsets = (exact - base) // itemsize if itemsize else exact
            program = int(wrong.argmax()) // (wrong.size // wrong.shape[0])
            few = _few(offsets[program], wrong[program])
            self.report(
                "offset overflow",
                name,
                few[0],
                self._count(wrong),
                program,
                offsets=few,
                line=line,
                other_line=self.locate().line,
            )

    def _count(self, flags: Array) -> int:
        """Lanes that are flagged, (p, ...), over all programs that run."""
        count = int(np.count_nonzero(flags))
        return count if flags.shape[0] == len(self._numbers) else count * len(self._numbers)

    def _coordinates(self, number: int) -> tuple[int, int, int]:
        width, height, _ = self._grid
        return number % width, number // width % height, number // (width * height)

    def _flag(self, kind: EventKind, buffer: Buffer, flags: Array, offsets: Array) -> None:
        """Report the lanes where `flags` (p, ...) holds; `offsets` are elements, of the same shape."""
        first = int(flags.argmax())
        count = self._count(flags)
        program = first // (flags.size // flags.shape[0])
        few = _few(offsets[program], flags[program])
        self.report(kind, buffer.name, few[0], count, program, offsets=few)


def _few(offsets: Array, flags: Array) -> tuple[int, ...]:
    """The first offsets that are flagged."""
    return tuple(int(offset) for offset in offsets[flags][:FEW])
