"""Shadows of any size and grain, and offsets that wrap: what is followed, and what is left alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from verify.triton_cpu.launch import Counters, PointerArg, WorkLimits, load_kernels, run_launch
from verify.triton_cpu.memory import Arena, MemoryEvent
from verify.triton_cpu.private import JITFunction
from verify.triton_cpu.shadow import Shadow

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


def events_of(kernel: JITFunction, grid: int = 1, **scalars: Any) -> tuple[MemoryEvent, ...]:
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

