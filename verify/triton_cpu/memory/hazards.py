"""Accesses of one launch whose order a device leaves open: between programs, lanes, and within one program.

For every element of a buffer that a launch wrote, a shadow remembers who wrote it last: the program, the lane
(the element's position in the block that was stored), and the place in the source. A second one remembers two
of those who read it.

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

from verify.triton_cpu.memory.events import EventKind
from verify.triton_cpu.memory.shadow import Shadow

Array = npt.NDArray[Any]

# An entry of a shadow: a number for the program that no earlier launch used, the site, the lane.
_LANE_BITS = 20  # a block has at most 2**20 elements
_SITE_BITS = 10
_PROGRAM = _LANE_BITS + _SITE_BITS
_LANES = (1 << _LANE_BITS) - 1
_SITES = (1 << _SITE_BITS) - 1
_MOST_PROGRAMS = 1 << 32
_MOST_ROWS = 32
_MOST_KEPT = 1 << 25
"""Bytes of buffers whose shadows are kept for the next launch; they take several times as much."""

_COMMUTING = frozenset({"add", "fadd", "min", "umin", "max", "umax", "and", "or", "xor"})
"""Atomic operations that may happen in any order, each among its own kind."""
_SEVERAL = "several kinds"


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


class Track:
    """Who touched which element of a buffer, an element being `granule` bytes: the smallest seen so far."""

    __slots__ = ("epochs", "first", "granule", "last", "nbytes", "writers")

    def __init__(self, nbytes: int, granule: int) -> None:
        self.nbytes = nbytes
        self.granule = granule
        self.writers = Shadow(nbytes // granule)
        self.first: Shadow | None = None  # to read it
        self.last: Shadow | None = None
        self.epochs: Shadow | None = None  # barriers before it was written

    def shadow(self) -> Shadow:
        return Shadow(self.nbytes // self.granule)

    def refine(self, granule: int) -> None:
        """Smaller elements from now on: what is known of an element holds for its parts."""
        parts = self.granule // granule
        for name in ("writers", "first", "last", "epochs"):
            shadow: Shadow | None = getattr(self, name)
            if shadow is not None:
                setattr(self, name, shadow.refined(self.nbytes // granule, parts))
        self.granule = granule


class _Lanes:
    """The live lanes of an access, flat: `index` in the track's elements, `me` as the entry of each."""

    __slots__ = ("buffer", "index", "me", "parts", "track")

    def __init__(self, buffer: Any, track: Track, index: Array, me: Array, itemsize: int) -> None:
        self.buffer, self.track = buffer, track
        self.parts = itemsize // track.granule
        if self.parts > 1:
            index = (index[:, None] * self.parts + np.arange(self.parts)).reshape(-1)
            me = np.repeat(me, self.parts)
        self.index: Array = index
        self.me: Array = me

    def widened(self, flags: Array) -> Array:
        """Flags of the access's elements as flags of the track's."""
        return flags if self.parts == 1 else np.repeat(flags, self.parts)


class Hazards:
    """The state of one memory. Tell it of every launch, group of programs and access; `report` is called for
    each hazard, before the bytes change.

    Programs may run one after another or in lockstep. In lockstep whatever may be a hazard is reported, and
    for certain only where they run one after another.
    """

    def __init__(self, report: Callable[[Any, Hazard], None]) -> None:
        self._report = report
        self._tracks: dict[int, Track] = {}  # by address: buffers of one memory have one track
        self._kept = 0
        self._sites: list[tuple[int, str]] = []
        self._numbers: dict[tuple[int, str], int] = {}
        self._rows: dict[int, Array] = {}
        self._column: Array = np.zeros(1, np.int64)
        self._epoch = 0
        self._programs = 0
        self._base = 1
        self._floor = 0

    def begin(self, programs: int) -> None:
        """A launch begins; earlier ones are over and done."""
        restarted = self._base + self._programs + programs > _MOST_PROGRAMS
        if restarted or self._kept > _MOST_KEPT:
            self._tracks.clear()
            self._kept = 0
        self._base = 1 if restarted else self._base + self._programs
        self._programs = programs
        self._floor = (self._base << _PROGRAM) - 1  # entries above it are of this launch
        self._sites = [(0, "")]
        self._numbers.clear()
        self._epoch = 0

    def group(self, numbers: Array) -> None:
        """The programs (p,) that run from now on."""
        self._column = (numbers.astype(np.int64) + self._base) << _PROGRAM

    def barrier(self) -> None:
        """The threads of every running program have met: what each wrote is visible to all of it."""
        self._epoch += 1

    # -- accesses --------------------------------------------------------------------------------------------

    def read(self, buffer: Any, index: Array, live: Array | None, itemsize: int, line: int) -> None:
        """A load of elements `index` (p, ...) where `live` holds (None: everywhere)."""
        site = self._site(line, "load")
        lanes = self._lanes(buffer, index, live, itemsize, site)
        was = lanes.track.writers.get(lanes.index)
        if was.size and was.max() > self._floor:
            foreign = self._foreign(was, lanes.me)
            self._tell(lanes, "read-write conflict", was, foreign, reads=True)
            late = (was > self._floor) & ~foreign
            self._tell(lanes, "missing barrier", was, late & self._unsettled(lanes, was))
        self._note_reader(lanes)

    def write(self, buffer: Any, index: Array, live: Array | None, itemsize: int, line: int) -> Store:
        """A store that is about to happen, to be checked."""
        site = self._site(line, "store")
        lanes = self._lanes(buffer, index, live, itemsize, site)
        return Store(self, lanes)

    def atomic(
        self,
        buffer: Any,
        index: Array,
        live: Array | None,
        itemsize: int,
        line: int,
        what: str,
        changed: Array,
    ) -> None:
        """An atomic operation `what` ("add", "xchg", ...) of one program on elements `index` (1, ...) where
        `live` holds; `changed` says which of the live ones it changed, flat.
        """
        lanes = self._lanes(buffer, index, live, itemsize, self._site(line, what))
        changed = lanes.widened(changed)
        was = lanes.track.writers.get(lanes.index)
        kept = np.zeros(was.size, np.bool_)
        if was.size and was.max() > self._floor:
            foreign, plain = self._foreign(was, lanes.me), self._did(was, {"store"})
            same = self._did(was, {what} & _COMMUTING)
            self._tell(lanes, "atomic over plain store", was, foreign & plain)
            other = ~same & ~plain
            self._tell(lanes, "conflict between programs", was, foreign & other & changed)
            # What this program stored plainly is still what others will meet. What others did in the same
            # way, and what this one left as it was, is what it meets if it goes on in another.
            mine = plain & ~foreign
            self._tell(lanes, "missing barrier", was, mine & self._unsettled(lanes, was))
            kept = mine | (foreign & (same | (other & ~changed)))
            lanes.me = np.where((was > self._floor) & ~foreign & other, self._mixed(lanes.me), lanes.me)
        self.over_readers(lanes, changed)
        self.enter(lanes, ~kept)

    def _mixed(self, me: Array) -> Array:
        """These entries as those of a program that did several kinds of atomic operations to an element."""
        sites = np.unique(me >> _LANE_BITS & _SITES)
        table = np.zeros(_SITES + 1, np.int64)
        table[sites] = [self._site(self._sites[site][0], _SEVERAL) for site in sites]
        kept = me & ~(_SITES << _LANE_BITS)
        found: Array = kept | (table[me >> _LANE_BITS & _SITES] << _LANE_BITS)
        return found

    # -- shadows ---------------------------------------------------------------------------------------------

    def _lanes(self, buffer: Any, index: Array, live: Array | None, itemsize: int, site: int) -> _Lanes:
        track = self._tracks.get(buffer.base)
        if track is None or track.nbytes != buffer.nbytes:
            track = self._tracks[buffer.base] = Track(buffer.nbytes, itemsize)
            self._kept += buffer.nbytes
        elif itemsize < track.granule:
            track.refine(itemsize)
        block = index.shape[1:]
        size = index.size // len(index)
        row = self._rows.get(size)
        if row is None:
            if len(self._rows) > _MOST_ROWS:
                self._rows.clear()
            row = self._rows[size] = np.arange(size, dtype=np.int64)
        column = self._column + (site << _LANE_BITS)
        me = column.reshape((-1,) + (1,) * len(block)) + row.reshape((1, *block))
        if len(index) != len(me):
            index = np.broadcast_to(index, me.shape)
        if live is None:
            return _Lanes(buffer, track, index.reshape(-1), me.reshape(-1), itemsize)
        if live.shape != me.shape:
            live = np.broadcast_to(live, me.shape)
        return _Lanes(buffer, track, index[live], me[live], itemsize)

    def _site(self, line: int, what: str) -> int:
        number = self._numbers.get((line, what))
        if number is None:
            number = self._numbers[line, what] = min(len(self._sites), _SITES)
            self._sites.append((line, what))
        return number

    def _did(self, entries: Array, names: set[str] | frozenset[str]) -> Array:
        """Which of these writers of this launch did something of that name."""
        table = np.array([what in names for _, what in self._sites[: _SITES + 1]])
        place = np.where(entries > self._floor, entries >> _LANE_BITS & _SITES, 0)
        found: Array = table[place]
        return found

    def _foreign(self, was: Array, me: Array) -> Array:
        """Where another program of this launch was."""
        found: Array = (was > self._floor) & (was >> _PROGRAM != me >> _PROGRAM)
        return found

    def _unsettled(self, lanes: _Lanes, was: Array) -> Array:
        """Written by another lane and not before the last barrier (asked where the program is the same)."""
        late: Array = (was ^ lanes.me) & _LANES != 0
        if self._epoch and late.any():
            epochs = lanes.track.epochs
            late &= self._epoch == (0 if epochs is None else epochs.get(lanes.index))
        return late

    def enter(self, lanes: _Lanes, which: Array | None = None) -> None:
        """Make the lanes (`which` of them) the last writers of their elements."""
        index, me = lanes.index, lanes.me
        if which is not None:
            index, me = index[which], me[which]
        track = lanes.track
        track.writers.put(index, me)
        if self._epoch or track.epochs is not None:
            if track.epochs is None:
                track.epochs = track.shadow()
            track.epochs.put(index, np.full(index.size, self._epoch))

    def _note_reader(self, lanes: _Lanes) -> None:
        track = lanes.track
        if track.first is None or track.last is None:
            track.first, track.last = track.shadow(), track.shadow()
        first = track.first.get(lanes.index)
        # Where two programs have read it the entries stay two, whichever of them reads again.
        again = first >> _PROGRAM == lanes.me >> _PROGRAM
        first = np.where(again, track.last.get(lanes.index), first)
        track.first.put(lanes.index, np.where(first > self._floor, first, lanes.me))
        track.last.put(lanes.index, lanes.me)
        if len(self._column) > 1:
            # Programs in lockstep that read one element: the entries name two of them.
            lost = track.last.get(lanes.index) >> _PROGRAM != lanes.me >> _PROGRAM
            track.first.put(lanes.index[lost], lanes.me[lost])

    # -- what meets what -------------------------------------------------------------------------------------

    def over_writers(self, lanes: _Lanes, was: Array, changed: Array) -> None:
        """A plain store over what this launch wrote before."""
        foreign = self._foreign(was, lanes.me)
        if foreign.any():
            plain = self._did(was, {"store"})
            self._tell(lanes, "atomic over plain store", was, foreign & ~plain)
            self._tell(lanes, "conflict between programs", was, foreign & plain & changed)
            self._tell(lanes, "overlap of equal values", was, foreign & plain & ~changed)
        late = (was > self._floor) & ~foreign & changed
        if late.any():
            self._tell(lanes, "missing barrier", was, late & self._unsettled(lanes, was))

    def over_readers(self, lanes: _Lanes, changed: Array) -> None:
        """A write that changes what another program of this launch has read."""
        track = lanes.track
        if track.first is None or track.last is None:
            return
        first = track.first.get(lanes.index)
        if not first.size or first.max() <= self._floor:
            return
        alien = self._foreign(first, lanes.me)
        other = np.where(alien, first, track.last.get(lanes.index))
        self._tell(lanes, "read-write conflict", other, self._foreign(other, lanes.me) & changed)

    def collided(self, lanes: _Lanes, lost: Array) -> None:
        """Lanes of one store that share an element: `lost` are those whose value did not stay."""
        winner = lanes.track.writers.get(lanes.index)
        foreign = self._foreign(winner, lanes.me)
        self._tell(lanes, "conflicting lanes", winner, lost & ~foreign)
        self._tell(lanes, "conflict between programs", winner, lost & foreign)
        self._tell(lanes, "overlap of equal values", winner, foreign & ~lost)

    def met(self, was: Array) -> bool:
        """Whether any of these entries is of this launch."""
        return bool(was.size and was.max() > self._floor)

    def _tell(self, lanes: _Lanes, kind: EventKind, other: Array, at: Array, *, reads: bool = False) -> None:
        """Report the lanes `at`. A read-write conflict is about the write, whichever of the two came last."""
        places = np.nonzero(at)[0]
        if not places.size:
            return
        pair = (int(lanes.me[places[0]]), int(other[places[0]]))
        mine, theirs = reversed(pair) if reads else pair
        self._report(
            lanes.buffer,
            Hazard(
                kind=kind,
                line=self._sites[mine >> _LANE_BITS & _SITES][0],
                other_line=self._sites[theirs >> _LANE_BITS & _SITES][0],
                offsets=tuple(dict.fromkeys(int(place) // lanes.parts for place in lanes.index[places[:8]])),
                count=-(-places.size // lanes.parts),
                program=(mine >> _PROGRAM) - self._base,
                other_program=(theirs >> _PROGRAM) - self._base,
            ),
        )


class Store:
    """One store on its way: `check` it, write the bytes and, where lanes share an element, look at them when
    it is `done`. `raw` are the buffer's elements, `index` those of the live lanes, `values` what they write.
    """

    __slots__ = ("_hazards", "_lanes")

    def __init__(self, hazards: Hazards, lanes: _Lanes) -> None:
        self._hazards, self._lanes = hazards, lanes

    def check(self, raw: Array, index: Array, values: Array) -> None:
        """Compare with what the launch did to these elements before."""
        hazards, lanes = self._hazards, self._lanes
        track = lanes.track
        was = track.writers.get(lanes.index)
        met = hazards.met(was)
        if met or track.first is not None:
            changed = lanes.widened(bits_of(raw[index]) != bits_of(values))
            if met:
                hazards.over_writers(lanes, was, changed)
            hazards.over_readers(lanes, changed)
        hazards.enter(lanes)

    def shared(self) -> bool:
        """Whether lanes of this store share an element (asked after `check`)."""
        index = self._lanes.index
        if index.size < 2 or (index[1:] > index[:-1]).all():
            return False
        return bool((self._lanes.track.writers.get(index) != self._lanes.me).any())

    def done(self, raw: Array, index: Array, values: Array) -> None:
        """Compare with what stayed."""
        lost = bits_of(raw[index]) != bits_of(values)
        self._hazards.collided(self._lanes, self._lanes.widened(lost))


def bits_of(values: Array) -> Array:
    """The bits of raw values, flat."""
    return np.ascontiguousarray(values).view(f"u{values.dtype.itemsize}").ravel()
