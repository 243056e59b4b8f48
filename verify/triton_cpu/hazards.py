"""Accesses of one launch whose order a device leaves open: between programs, lanes, and within one program.

For every element of a buffer that the launch wrote, a shadow remembers who wrote it last: the program, the
lane (the element's position in the block that was stored), and the place in the source. Reads are only noted,
and worked through once something is written to the same buffer, so a buffer that is read and never written
costs next to nothing. Programs may run one after another or in lockstep; what is found does not depend on it,
but for the choice of the first example.

Within one program the lanes of a block belong to different threads, and a store becomes visible to another
thread at a barrier only. An access is reported if an earlier store of the same program reached the same
element from another lane, no barrier lies between, and it reads the element or changes its value. An access
from the same lane is not reported, though a compiler may give the two blocks different layouts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from verify.triton_cpu.events import EventKind
from verify.triton_cpu.shadow import Shadow

Array = npt.NDArray[Any]

# A writer: program + 1, site, lane. A reader: first and last program + 1 that read it, and the last one's site.
_LANE_BITS = 20  # a block has at most 2**20 elements
_SITE_BITS = 10
_PROGRAM = _LANE_BITS + _SITE_BITS
_LANES = (1 << _LANE_BITS) - 1
_SITES = (1 << _SITE_BITS) - 1
_HALF = 26
_HALVES = (1 << _HALF) - 1
_LAST, _FIRST = _SITE_BITS, _SITE_BITS + _HALF
_NOTES = 1 << 22
"""How many lanes of reads are kept for later before they are worked through."""

_COMMUTING = frozenset({"add", "fadd", "min", "umin", "max", "umax", "and", "or", "xor"})
"""Atomic operations that may happen in any order, each among its own kind."""


@dataclass(frozen=True, kw_only=True)
class Hazard:
    """Accesses to `offsets` (elements; the first few of `count`) at `line` that disagree with one at
    `other_line`; programs are linear numbers in the grid.
    """

    kind: EventKind
    line: int
    other_line: int
    offsets: tuple[int, ...]
    count: int
    program: int
    other_program: int


@dataclass(frozen=True, kw_only=True)
class Site:
    """A place of the source that reads or writes: its line, and what it does there."""

    line: int
    what: str


@dataclass(frozen=True, kw_only=True)
class Access:
    """One block access. `index` holds element indices, `live` flags or None for all; both have a leading
    program axis, of length 1 where all programs agree, else `programs.size`. `programs` are linear numbers.
    """

    index: Array
    live: Array | None
    itemsize: int
    programs: Array


class _Track:
    """What a launch did to one buffer, in elements of `granule` bytes."""

    __slots__ = ("buffer", "epochs", "granule", "noted", "notes", "readers", "writers")

    def __init__(self, buffer: Any, granule: int) -> None:
        self.buffer = buffer
        self.granule = granule
        self.writers: Shadow | None = None
        self.epochs: Shadow | None = None
        self.readers: Shadow | None = None
        self.notes: list[tuple[Access, int]] = []
        self.noted = 0

    def shadow(self) -> Shadow:
        return Shadow(self.buffer.nbytes // self.granule)

    def refine(self, granule: int) -> None:
        """Smaller elements from now on: what is known of an element holds for its parts."""
        parts = self.granule // granule
        for name in ("writers", "epochs", "readers"):
            shadow: Shadow | None = getattr(self, name)
            if shadow is not None:
                setattr(self, name, shadow.refined(self.buffer.nbytes // granule, parts))
        self.granule = granule


class _Lanes:
    """The live lanes of an access, flat: `index` in granules of the track, `me` as a writer of each."""

    __slots__ = ("index", "me", "parts", "track")

    def __init__(self, track: _Track, access: Access, site: int) -> None:
        self.track = track
        lanes = access.index[0].size
        me = ((access.programs.reshape(-1, 1) + 1) << _PROGRAM) + (
            np.arange(lanes, dtype=np.int64) + (site << _LANE_BITS)
        )
        index = access.index.reshape(len(access.index), lanes)
        if len(index) != len(me):
            index = np.broadcast_to(index, me.shape)
        if access.live is None:
            index, me = index.reshape(-1), me.reshape(-1)
        else:
            live = np.broadcast_to(access.live.reshape(len(access.live), lanes), me.shape)
            index, me = index[live], me[live]
        self.parts = access.itemsize // track.granule
        if self.parts > 1:
            index = (index[:, None] * self.parts + np.arange(self.parts)).reshape(-1)
            me = np.repeat(me, self.parts)
        self.index: Array = index
        self.me: Array = me

    def widened(self, flags: Array) -> Array:
        """Flags of elements as flags of granules."""
        return flags if self.parts == 1 else np.repeat(flags, self.parts)


class Hazards:
    """The state of one memory. `begin` a launch, tell every access of it; `report` hears of each hazard."""

    def __init__(self, report: Callable[[Any, Hazard], None]) -> None:
        self._report = report
        self._tracks: dict[int, _Track] = {}
        self._sites: list[Site] = []
        self._numbers: dict[tuple[int, str], int] = {}
        self._epoch = 0

    def begin(self) -> None:
        """Forget everything: launches are ordered."""
        self._tracks.clear()
        self._sites = [Site(line=0, what="")]
        self._numbers.clear()
        self._epoch = 0

    def barrier(self) -> None:
        """The threads of every running program have met: what each wrote is visible to all of it."""
        self._epoch += 1

    # -- accesses --------------------------------------------------------------------------------------------

    def read(self, buffer: Any, access: Access, line: int) -> None:
        """A load. It is worked through once someone writes the buffer, so its arrays must stay as they are."""
        track, site = self._track(buffer, access.itemsize), self._site(line, "load")
        if track.writers is not None:
            self._after_writers(track, access, site)
        track.notes.append((access, site))
        track.noted += access.index.size
        if track.readers is not None or track.noted > _NOTES:
            self._work_through(track)

    def write(self, buffer: Any, access: Access, line: int, old: Array, new: Array) -> None:
        """A store, before it happens: `old` and `new` are the bits of the live lanes, flat and in order."""
        track = self._track(buffer, access.itemsize)
        lanes = _Lanes(track, access, self._site(line, "store"))
        if track.writers is None:
            track.writers = track.shadow()
            was = None
        else:
            was = track.writers.get(lanes.index)
        if (was is not None and was.any()) or track.notes or track.readers is not None:
            changed = lanes.widened(old != new)
            if was is not None:
                self._over_writers(lanes, was, changed)
            self._over_readers(lanes, changed)
        track.writers.put(lanes.index, lanes.me)
        self._mark_epoch(track, lanes.index)

    def collided(self, buffer: Any, access: Access, line: int, new: Array, left: Array) -> None:
        """After that store: `left` are the bits that it left where its lanes wrote `new`.

        Lanes, and programs in lockstep, that share an element are told apart by who came last.
        """
        lost = new != left
        if access.programs.size == 1 and not lost.any():
            return
        track = self._track(buffer, access.itemsize)
        assert track.writers is not None
        lanes = _Lanes(track, access, self._site(line, "store"))
        winner, lost = track.writers.get(lanes.index), lanes.widened(lost)
        foreign = _foreign(winner, lanes.me)
        self._tell(lanes, "conflicting lanes", winner, lost & ~foreign)
        self._tell(lanes, "conflict between programs", winner, lost & foreign)
        self._tell(lanes, "overlap of equal values", winner, foreign & ~lost)

    def atomic(self, buffer: Any, access: Access, line: int, what: str, changed: Array) -> None:
        """An atomic operation `what` ("add", "xchg", ...), flat; which of its live lanes changed a value."""
        track = self._track(buffer, access.itemsize)
        lanes = _Lanes(track, access, self._site(line, what))
        changed = lanes.widened(changed)
        if track.writers is None:
            track.writers = track.shadow()
        was = track.writers.get(lanes.index)
        kept = np.zeros(was.size, np.bool_)
        if was.any():
            foreign, plain = _foreign(was, lanes.me), self._did(was, {"store"})
            self._tell(lanes, "atomic over plain store", was, foreign & plain)
            other = ~self._did(was, {what} & _COMMUTING) & ~plain
            self._tell(lanes, "conflict between programs", was, foreign & other & changed)
            kept = plain & ~foreign  # what this program stored plainly is still what others will meet
            self._tell(lanes, "missing barrier", was, kept & self._unsettled(lanes, was))
        if what not in _COMMUTING and access.programs.size > 1:
            self._exchanged(lanes, changed)
        self._over_readers(lanes, changed)
        track.writers.put(lanes.index[~kept], lanes.me[~kept])
        self._mark_epoch(track, lanes.index[~kept])

    # -- shadows ---------------------------------------------------------------------------------------------

    def _track(self, buffer: Any, itemsize: int) -> _Track:
        track = self._tracks.get(id(buffer))
        if track is None:
            track = self._tracks[id(buffer)] = _Track(buffer, itemsize)
        elif itemsize < track.granule:
            track.refine(itemsize)
        return track

    def _site(self, line: int, what: str) -> int:
        number = self._numbers.get((line, what))
        if number is None:
            number = self._numbers[(line, what)] = min(len(self._sites), _SITES)
            self._sites.append(Site(line=line, what=what))
        return number

    def _did(self, packed: Array, names: set[str] | frozenset[str]) -> Array:
        """Which of these writers did something of that name."""
        table = np.array([site.what in names for site in self._sites])
        found: Array = table[packed >> _LANE_BITS & _SITES] & (packed != 0)
        return found

    def _mark_epoch(self, track: _Track, index: Array) -> None:
        if self._epoch:
            if track.epochs is None:
                track.epochs = track.shadow()
            track.epochs.put(index, np.full(index.size, self._epoch))

    def _unsettled(self, lanes: _Lanes, was: Array) -> Array:
        """Written by another lane and not before the last barrier (asked where the program is the same)."""
        late: Array = (was ^ lanes.me) & _LANES != 0
        if self._epoch and late.any():
            epochs = lanes.track.epochs
            late &= self._epoch == (0 if epochs is None else epochs.get(lanes.index))
        return late

    # -- what meets what -------------------------------------------------------------------------------------

    def _after_writers(self, track: _Track, access: Access, site: int) -> None:
        assert track.writers is not None
        lanes = _Lanes(track, access, site)
        was = track.writers.get(lanes.index)
        if not was.any():
            return
        foreign = _foreign(was, lanes.me)
        self._tell(lanes, "read-write conflict", was, foreign, reads=True)
        self._tell(lanes, "missing barrier", was, (was != 0) & ~foreign & self._unsettled(lanes, was))

    def _over_writers(self, lanes: _Lanes, was: Array, changed: Array) -> None:
        foreign = _foreign(was, lanes.me)
        if foreign.any():
            plain = self._did(was, {"store"})
            self._tell(lanes, "atomic over plain store", was, foreign & ~plain)
            self._tell(lanes, "conflict between programs", was, foreign & plain & changed)
            self._tell(lanes, "overlap of equal values", was, foreign & plain & ~changed)
        late = (was != 0) & ~foreign & changed
        if late.any():
            self._tell(lanes, "missing barrier", was, late & self._unsettled(lanes, was))

    def _over_readers(self, lanes: _Lanes, changed: Array) -> None:
        track = lanes.track
        if track.notes:
            self._work_through(track)
        if track.readers is None:
            return
        was = track.readers.get(lanes.index)
        if not was.any():
            return
        mine = lanes.me >> _PROGRAM & _HALVES
        last, first = was >> _LAST & _HALVES, was >> _FIRST
        foreign = (was != 0) & ((last != mine) | (first != mine)) & changed
        if foreign.any():
            other = np.where(first != mine, first, last)
            packed = (other << _PROGRAM) | ((was & _SITES) << _LANE_BITS)
            self._tell(lanes, "read-write conflict", packed, foreign)

    def _work_through(self, track: _Track) -> None:
        """Enter the reads noted so far into the shadow of readers."""
        if track.readers is None:
            track.readers = track.shadow()
        for access, site in track.notes:
            lanes = _Lanes(track, access, site)
            program = lanes.me >> _PROGRAM & _HALVES
            was = track.readers.get(lanes.index)
            first = np.where(was == 0, program, was >> _FIRST)
            track.readers.put(lanes.index, (first << _FIRST) | (program << _LAST) | site)
            if access.programs.size > 1:
                _share(track.readers, lanes.index, program)
        track.notes.clear()
        track.noted = 0

    def _exchanged(self, lanes: _Lanes, changed: Array) -> None:
        """Exchanges by programs in lockstep that hit one element."""
        order = np.argsort(lanes.index, kind="stable")
        index, me = lanes.index[order], lanes.me[order]
        before = lanes.me.copy()
        before[order[1:]] = np.where(index[1:] == index[:-1], me[:-1], me[1:])
        self._tell(lanes, "conflict between programs", before, _foreign(before, lanes.me) & changed)

    def _tell(
        self, lanes: _Lanes, kind: EventKind, other: Array, at: Array, *, reads: bool = False
    ) -> None:
        """Report the lanes `at`. A read-write conflict is about the write, whichever of the two came last."""
        places = np.nonzero(at)[0]
        if not places.size:
            return
        pair = (int(lanes.me[places[0]]), int(other[places[0]]))
        mine, theirs = reversed(pair) if reads else pair
        parts = lanes.parts
        self._report(
            lanes.track.buffer,
            Hazard(
                kind=kind,
                line=self._sites[mine >> _LANE_BITS & _SITES].line,
                other_line=self._sites[theirs >> _LANE_BITS & _SITES].line,
                offsets=tuple(int(place) // parts for place in lanes.index[places[:4]]),
                count=-(-places.size // parts),
                program=(mine >> _PROGRAM) - 1,
                other_program=(theirs >> _PROGRAM) - 1,
            ),
        )


def _foreign(was: Array, me: Array) -> Array:
    """Where another program wrote."""
    found: Array = (was != 0) & (was >> _PROGRAM != me >> _PROGRAM)
    return found


def _share(readers: Shadow, index: Array, program: Array) -> None:
    """Programs in lockstep that read one element: where there are two of them the entry names two."""
    left = readers.get(index)
    last, first = left >> _LAST & _HALVES, left >> _FIRST
    alone = (last != program) & (first == last)
    if alone.any():
        packed = (program[alone] << _FIRST) | (left[alone] & ((1 << _FIRST) - 1))
        readers.put(index[alone], packed)
