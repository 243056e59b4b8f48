"""Shadows of any size and grain, and offsets that wrap: what is followed, and what is left alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from verify.triton_cpu.interpreter.launch import Counters, PointerArg, WorkLimits, load_kernels, run_launch
from verify.triton_cpu.memory.arena import Arena, MemoryEvent
from verify.triton_cpu.memory.hazards import Hazards
from verify.triton_cpu.memory.shadow import Shadow
from verify.triton_cpu.private import JITFunction

SOURCE = """
@triton.jit
def halves(x, out, STORE: tl.constexpr, LOAD: tl.constexpr):
    p = tl.program_id(0)
    if STORE:
        tl.store(x + p, p + 1)
    if LOAD:
        half = tl.load(x.to(tl.pointer_type(tl.int16)) + 2 * ((p + 1) % 2) + 1)
        tl.store(out + p, half.to(tl.int32))

@triton.jit
def halves_first(x, out):
    p = tl.program_id(0)
    tl.store(x.to(tl.pointer_type(tl.int8)) + 8 * p + tl.arange(0, 8), tl.zeros((8,), tl.int8))
    tl.store(x + 2 * p + 1, 5)

@triton.jit
def upper_half(x, out, SHIFT: tl.constexpr):
    at = tl.arange(0, 16)
    tl.store(out + at, at)
    tl.atomic_add(out + at - SHIFT, 1, mask=at >= 8)

@triton.jit
def taken_back(x, out, big):
    far = tl.arange(0, 16) + big * 2
    tl.store(out + tl.arange(0, 16), tl.load(x + (far - big - big)))

@triton.jit
def masked_off(x, out, big):
    at = tl.arange(0, 16)
    far = at * big
    tl.store(out + at, tl.load(x + far, mask=at < 1, other=0))

@triton.jit
def only_compared(x, out, big):
    at = tl.arange(0, 16)
    tl.store(out + at, tl.load(x + at, mask=(at * big) < 7, other=0))

@triton.jit
def turned(x, out, big):
    i, j = tl.arange(0, 4), tl.arange(0, 4)
    far = i * big
    tile = tl.load(x + tl.trans(far[:, None] + j[None, :]).reshape(16))
    tl.store(out + tl.arange(0, 16), tile)

@triton.jit
def clamped(x, out, big):
    at = tl.minimum(tl.arange(0, 16) * big, 15)
    tl.store(out + tl.arange(0, 16), tl.load(x + tl.maximum(at, 0)))

@triton.jit
def chosen(x, out, big):
    at = tl.arange(0, 16)
    far = at * big
    tl.store(out + at, tl.load(x + tl.where(at < 9, far, at)))

@triton.jit
def hashed(x, out, big):
    at = tl.arange(0, 16)
    mixed = (at + 1) * big
    mixed = (mixed ^ (mixed >> 13)) * big
    tl.store(out + at, tl.load(x + (mixed & 15)))
"""
BIG = 1500000001


@pytest.fixture(scope="module")
def kernels() -> dict[str, JITFunction]:
    return load_kernels(SOURCE, "<hazards under test>")


def events_of(
    kernel: JITFunction, grid: int = 1, *, batch: bool = True, **scalars: Any
) -> tuple[MemoryEvent, ...]:
    """Events of a launch on two int32 tensors of 16 elements, `x` and `out`."""
    arena = Arena()
    x, out = arena.add("x", 64, written=True), arena.add("out", 64, written=True)
    arena.freeze(0)
    pointers = {"x": PointerArg(buffer=x, dtype="int32"), "out": PointerArg(buffer=out, dtype="int32")}
    run_launch(
        kernel,
        {**pointers, **scalars},
        grid=(grid, 1, 1),
        arena=arena,
        counters=Counters(),
        limits=WorkLimits(),
        conflicts=True,
        batch=batch,
    )
    return arena.events


# -- grain and size ------------------------------------------------------------------------------------------


def test_a_part_of_an_element_conflicts_with_the_whole(kernels: dict[str, JITFunction]) -> None:
    [event] = events_of(kernels["halves"], 2, STORE=True, LOAD=True)
    assert (event.kind, event.buffer, event.count) == ("read-write conflict", "x", 2)
    assert events_of(kernels["halves"], 2, STORE=True, LOAD=False) == ()
    assert events_of(kernels["halves"], 2, STORE=False, LOAD=True) == ()


def test_a_whole_element_meets_the_lanes_that_wrote_its_parts(kernels: dict[str, JITFunction]) -> None:
    [event] = events_of(kernels["halves_first"], 2)
    assert (event.kind, event.offsets, event.count) == ("missing barrier", (1,), 2)


def test_masked_lanes_of_an_atomic_keep_their_positions(kernels: dict[str, JITFunction]) -> None:
    assert events_of(kernels["upper_half"], SHIFT=0) == ()
    [event] = events_of(kernels["upper_half"], SHIFT=1)
    assert (event.kind, event.offsets, event.count) == ("missing barrier", (7, 8, 9, 10), 8)


@pytest.mark.parametrize("length", [1000, (1 << 24) + 70000, 1 << 33])
def test_a_shadow_is_zero_until_it_is_set_and_keeps_the_last_value(length: int) -> None:
    shadow = Shadow(length)
    at = np.array([length - 1, 0, length // 2, 7, 7])
    assert shadow.get(at).tolist() == [0] * 5
    shadow.put(at, np.arange(1, 6))
    assert shadow.get(at).tolist() == [1, 2, 3, 5, 5]
    assert shadow.get(at[:3] ^ 1).tolist() == [0, 0, 0]
    finer = shadow.refined(2 * length, 2)
    assert finer.get(np.array([14, 15, 16, 2 * length - 1])).tolist() == [5, 5, 0, 1]


# -- offsets that wrap ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["taken_back", "masked_off", "only_compared", "hashed"])
def test_a_wrap_that_no_address_depends_on_is_not_reported(
    kernels: dict[str, JITFunction], name: str
) -> None:
    assert events_of(kernels[name], big=BIG) == ()


@pytest.mark.parametrize(
    ("name", "lanes"),
    [
        ("turned", 8),  # the last two of four rows
        ("clamped", int(((np.arange(16) * BIG).astype(np.int32) < 0).sum())),  # others clamp to 15, too
        ("chosen", 7),
    ],
)
def test_a_wrap_is_followed_through_views_and_bounds(
    kernels: dict[str, JITFunction], name: str, lanes: int
) -> None:
    kinds = {event.kind: event for event in events_of(kernels[name], big=BIG)}
    event = kinds["offset overflow"]
    start = SOURCE[: SOURCE.index(f"def {name}(")].count("\n")
    line = next(n for n, text in enumerate(SOURCE.splitlines(), 1) if "* big" in text and n > start)
    assert (event.line, event.buffer, event.count) == (line, "x", lanes)
    assert event.other_line > event.line - 1
    assert events_of(kernels[name], 4, big=BIG) == events_of(kernels[name], 4, batch=False, big=BIG)


# -- against a plain model -----------------------------------------------------------------------------------

ELEMENTS = 6
ACCESS = st.tuples(
    st.sampled_from(["load", "store", "barrier"]),
    st.integers(0, 2),
    st.lists(st.integers(0, ELEMENTS - 1), min_size=1, max_size=4, unique=True),
    st.integers(0, 1),
)


class Elements:
    """What a launch did to each element, remembered in full."""

    def __init__(self) -> None:
        self.writer: dict[int, tuple[int, int, int]] = {}  # program, lane, barriers before it
        self.readers: dict[int, set[int]] = {}
        self.values = dict.fromkeys(range(ELEMENTS), 0)
        self.barriers = 0

    def load(self, program: int, lane: int, at: int) -> set[str]:
        found = set()
        if at in self.writer:
            who, where, when = self.writer[at]
            if who != program:
                found.add("read-write conflict")
            elif where != lane and when == self.barriers:
                found.add("missing barrier")
        self.readers.setdefault(at, set()).add(program)
        return found

    def store(self, program: int, lane: int, at: int, value: int) -> set[str]:
        found, changed = set(), value != self.values[at]
        if at in self.writer:
            who, where, when = self.writer[at]
            if who != program:
                found.add("conflict between programs" if changed else "overlap of equal values")
            elif where != lane and when == self.barriers and changed:
                found.add("missing barrier")
        if changed and self.readers.get(at, set()) - {program}:
            found.add("read-write conflict")
        self.writer[at] = (program, lane, self.barriers)
        self.values[at] = value
        return found


@given(st.lists(st.lists(ACCESS, max_size=12), min_size=1, max_size=2))
@example([[("load", 0, [0], 1), ("load", 1, [0], 1), ("load", 0, [0], 1), ("store", 0, [0], 1)]])
@settings(max_examples=80)
def test_hazards_are_those_of_a_model_that_forgets_nothing(launches: list[list[Any]]) -> None:
    """In any interleaving of programs: those in lockstep take turns. After a launch all is forgotten."""
    told: set[tuple[str, int]] = set()
    hazards = Hazards(lambda _, hazard: told.update((hazard.kind, at) for at in hazard.offsets))
    raw = np.zeros(ELEMENTS, np.int32)
    buffer = SimpleNamespace(base=0, nbytes=4 * ELEMENTS)
    model = Elements()
    for accesses in launches:
        hazards.begin(3)
        model.writer, model.readers = {}, {}
        for line, (what, program, places, value) in enumerate(accesses):
            expected: set[tuple[str, int]] = set()
            told.clear()
            hazards.group(np.array([program]))
            index = np.array([places])
            if what == "barrier":
                hazards.barrier()
                model.barriers += 1
            elif what == "load":
                hazards.read(buffer, index, None, 4, line)
                for lane, at in enumerate(places):
                    expected |= {(kind, at) for kind in model.load(program, lane, at)}
            else:
                values = np.full(len(places), value, np.int32)
                store = hazards.write(buffer, index, None, 4, line)
                store.check(raw, index[0], values)
                assert not store.shared()
                raw[index[0]] = values
                for lane, at in enumerate(places):
                    expected |= {(kind, at) for kind in model.store(program, lane, at, value)}
            assert told == expected, (line, what, program, places, value)
