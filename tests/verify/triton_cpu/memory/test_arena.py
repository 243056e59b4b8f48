"""No access leaves its buffer, and each violation says where it came from."""

from __future__ import annotations

import numpy as np
import pytest

from tests.verify.triton_cpu.kernels import SOURCE, line_of
from verify.triton_cpu.interpreter.launch import (
    Counters,
    KernelError,
    PointerArg,
    WorkLimits,
    load_kernels,
    run_launch,
)
from verify.triton_cpu.memory.arena import Arena, MemoryEvent
from verify.triton_cpu.private import JITFunction
from verify.triton_cpu.selftest.runner import run_once


@pytest.fixture(scope="module")
def kernels() -> dict[str, JITFunction]:
    return load_kernels(SOURCE, "<kernels under test>")


X = np.arange(1.0, 9.0, dtype=np.float32)


def two_buffers(
    kernel: JITFunction,
    *,
    conflicts: bool = False,
    grid: tuple[int, int, int] = (1, 1, 1),
    order: str = "forward",
) -> tuple[Arena, tuple[MemoryEvent, ...]]:
    arena = Arena()
    x, out = arena.add("x", 32, written=True), arena.add("out", 32, written=False)
    arena.freeze(0xFF)
    x.view("<f4")[:] = X
    arguments = {
        "x": PointerArg(buffer=x, dtype="float32"),
        "out": PointerArg(buffer=out, dtype="float32"),
        "BLOCK": 8,
    }
    run_launch(
        kernel,
        arguments,
        grid=grid,
        arena=arena,
        counters=Counters(),
        limits=WorkLimits(),
        order=order,
        conflicts=conflicts,
    )  # type: ignore[arg-type]
    return arena, arena.events


@pytest.mark.parametrize("offset", [-3, 5, 1 << 20, -(1 << 20), (1 << 31) + 5])
def test_loads_outside_the_buffer_read_nan_and_are_located(
    kernels: dict[str, JITFunction], offset: int
) -> None:
    got, events = run_once(
        kernels["read_at"], {"x": (X, "float32")}, ("out", 8, "float32"), {"offset": offset, "BLOCK": 8}
    )
    inside = [0 <= offset + i < 8 for i in range(8)]
    assert [not np.isnan(v) for v in got] == inside
    [event] = events
    assert (event.kind, event.buffer, event.kernel, event.program) == (
        "out-of-bounds load",
        "x",
        "read_at",
        (0, 0, 0),
    )
    assert event.line == line_of("tl.load(x + offset + at)")
    assert event.count == inside.count(False)
    assert event.offset == offset + inside.index(False)


def test_stores_outside_the_buffer_are_dropped_and_located(kernels: dict[str, JITFunction]) -> None:
    got, events = run_once(
        kernels["write_at"], {"x": (X, "float32")}, ("out", 8, "float32"), {"offset": 6, "BLOCK": 8}
    )
    assert got[6:].tolist() == [1.0, 2.0]
    [event] = events
    assert (event.kind, event.buffer, event.offset, event.count) == ("out-of-bounds store", "out", 8, 6)
    assert event.line == line_of("tl.store(out + offset + at")


def test_a_neighbouring_buffer_is_out_of_bounds(kernels: dict[str, JITFunction]) -> None:
    arena = Arena()
    x, secret, out = (arena.add(n, 32, written=n != "out") for n in ("x", "secret", "out"))
    arena.freeze(0)
    secret.view("<f4")[:] = 42.0
    step = (secret.base - x.base) // 4
    arguments = {"x": PointerArg(buffer=x, dtype="float32"), "out": PointerArg(buffer=out, dtype="float32")}
    run_launch(
        kernels["read_at"],
        {**arguments, "offset": step, "BLOCK": 8},
        grid=(1, 1, 1),
        arena=arena,
        counters=Counters(),
        limits=WorkLimits(),
    )
    assert np.isnan(out.view("<f4")).all()
    assert [(e.kind, e.buffer) for e in arena.events] == [("out-of-bounds load", "x")]


def test_reading_what_nobody_wrote_is_an_event(kernels: dict[str, JITFunction]) -> None:
    arena = Arena()
    x, out = arena.add("x", 32, written=False), arena.add("out", 32, written=False)
    arena.freeze(0xFF)
    x.view("<f4")[:3] = 1.0
    x.written[:12] = True
    arguments = {"x": PointerArg(buffer=x, dtype="float32"), "out": PointerArg(buffer=out, dtype="float32")}
    run_launch(
        kernels["read_at"],
        {**arguments, "offset": 0, "BLOCK": 8},
        grid=(1, 1, 1),
        arena=arena,
        counters=Counters(),
        limits=WorkLimits(),
    )
    [event] = arena.events
    assert (event.kind, event.buffer, event.offset, event.count) == ("never-written read", "x", 3, 5)
    assert np.isnan(out.view("<f4")[3:]).all()


def test_coverage_counts_bytes_that_nobody_wrote(kernels: dict[str, JITFunction]) -> None:
    arena = Arena()
    x, out = arena.add("x", 32, written=True), arena.add("out", 64, written=False)
    arena.freeze(0)
    arguments = {"x": PointerArg(buffer=x, dtype="float32"), "out": PointerArg(buffer=out, dtype="float32")}
    run_launch(
        kernels["write_at"],
        {**arguments, "offset": 4, "BLOCK": 8},
        grid=(1, 1, 1),
        arena=arena,
        counters=Counters(),
        limits=WorkLimits(),
    )
    assert arena.uncovered(out) == 32
    assert out.written.reshape(-1, 4).all(axis=1).tolist() == [False] * 4 + [True] * 8 + [False] * 4


@pytest.mark.parametrize("byte_offset", [2, 6])
def test_a_pointer_between_elements_is_misaligned(kernels: dict[str, JITFunction], byte_offset: int) -> None:
    arena = Arena()
    x, out = arena.add("x", 64, written=True), arena.add("out", 32, written=False)
    arena.freeze(0)
    arguments = {
        "x": PointerArg(buffer=x, byte_offset=byte_offset, dtype="float32"),
        "out": PointerArg(buffer=out, dtype="float32"),
    }
    run_launch(
        kernels["read_at"],
        {**arguments, "offset": 0, "BLOCK": 8},
        grid=(1, 1, 1),
        arena=arena,
        counters=Counters(),
        limits=WorkLimits(),
    )
    assert [(e.kind, e.buffer, e.count) for e in arena.events] == [("misaligned", "x", 8)]


def test_a_pointer_cast_to_a_wider_type_is_checked(kernels: dict[str, JITFunction]) -> None:
    _, events = run_once(kernels["reinterpreted"], {"x": (X, "float16")}, ("out", 1, "float32"))
    assert [(e.kind, e.buffer) for e in events] == [("misaligned", "x")]


def test_a_kernel_that_looks_at_an_address_is_refused(kernels: dict[str, JITFunction]) -> None:
    with pytest.raises(KernelError, match="a cast between a pointer and a number"):
        run_once(kernels["from_number"], {"x": (X, "float32")}, ("out", 1, "float32"))


@pytest.mark.parametrize(("first", "want"), [(True, [1, 3, 2, 4]), (False, [11, 13, 12, 14])])
def test_pointers_keep_their_buffer_through_shapes(
    kernels: dict[str, JITFunction], first: bool, want: list[int]
) -> None:
    inputs = {"x": (np.arange(1.0, 5.0), "float32"), "y": (np.arange(11.0, 15.0), "float32")}
    got, events = run_once(kernels["chosen"], inputs, ("out", 4, "float32"), {"FIRST": first})
    assert events == ()
    assert got.tolist() == want


@pytest.mark.parametrize("order", ["forward", "reverse"])
def test_programs_that_write_one_place_conflict(kernels: dict[str, JITFunction], order: str) -> None:
    kernel = kernels["everyone_writes"]
    _, events = two_buffers(kernel, conflicts=True, grid=(3, 1, 1), order=order)
    [event] = events
    assert (event.kind, event.buffer, event.count) == ("conflict between programs", "out", 16)
    assert event.line == line_of("tl.load(x + at) + tl.program_id(0)")
    assert two_buffers(kernel, conflicts=False, grid=(3, 1, 1))[1] == ()
    assert two_buffers(kernel, conflicts=True, grid=(1, 1, 1))[1] == ()


def test_programs_that_agree_on_a_value_overlap_and_do_not_conflict(kernels: dict[str, JITFunction]) -> None:
    [event] = two_buffers(kernels["everyone_agrees"], conflicts=True, grid=(3, 1, 1))[1]
    assert (event.kind, event.severity) == ("overlap of equal values", "benign")
    assert (event.program, event.other_program, event.count) == ((1, 0, 0), (0, 0, 0), 16)


def test_lanes_that_store_different_values_to_one_place_conflict(kernels: dict[str, JITFunction]) -> None:
    _, events = two_buffers(kernels["lanes_collide"], conflicts=True)
    assert [(e.kind, e.buffer, e.count) for e in events] == [("conflicting lanes", "out", 4)]


def test_guard_zones_stay_intact_and_damage_is_named(kernels: dict[str, JITFunction]) -> None:
    arena, _ = two_buffers(kernels["everyone_writes"])
    assert arena.damaged_guards() == ()
    low = arena["x"].bytes.ctypes.data - arena._data.ctypes.data
    arena._data[low + 32] ^= 1
    assert "x" in arena.damaged_guards()


@pytest.mark.parametrize("poison", [0x00, 0x7F, 0xFF])
def test_unwritten_buffers_start_as_poison(poison: int) -> None:
    arena = Arena()
    buffer = arena.add("scratch", 24, written=False)
    arena.freeze(poison)
    assert set(buffer.bytes.tolist()) == {poison}
    assert buffer.base % 256 == 0


def test_misuse_of_an_arena_is_refused() -> None:
    arena = Arena()
    arena.add("x", 8, written=True)
    with pytest.raises(ValueError, match="'x' twice"):
        arena.add("x", 8, written=True)
    with pytest.raises(ValueError, match="power of two"):
        arena.add("y", 8, written=True, align=3)
    arena.freeze(0)
    with pytest.raises(ValueError, match="before freeze"):
        arena.add("z", 8, written=True)
