"""Programs that run as one give what they give one after another: values, events and counts, bit for bit."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

from verify.triton_cpu.interpreter.launch import (
    Counters,
    PointerArg,
    WorkLimits,
    language,
    load_kernels,
    run_launch,
)
from verify.triton_cpu.memory.arena import Arena
from verify.triton_cpu.private import JITFunction, tl
from verify.triton_cpu.selftest.runner import bits_of

SOURCE = """
@triton.jit
def pair(a, x, b, y):
    return a * b, x * b + y

@triton.jit
def elementwise(x, y, out, n, B: tl.constexpr):
    at = tl.program_id(0) * B + tl.arange(0, B)
    keep = at < n
    a, b = tl.load(x + at, mask=keep, other=0.5), tl.load(y + at, mask=keep)
    c = tl.exp(a.to(tl.float32)) + tl.log(tl.abs(b.to(tl.float32)) + 1.0) * tl.sin(a.to(tl.float32))
    c = tl.where(a > b, tl.math.rsqrt(tl.abs(c) + 0.1), tl.sigmoid(c)) - tl.cos(b.to(tl.float32))
    c = tl.fma(c, a.to(tl.float32), tl.erf(b.to(tl.float32))) / (1.0 + tl.exp2(c))
    tl.store(out + at, (a * b + c.to(a.dtype)).to(out.dtype.element_ty), mask=keep)

@triton.jit
def reduced(x, y, out, n, B: tl.constexpr):
    p = tl.program_id(0)
    i, j = tl.arange(0, B)[:, None], tl.arange(0, 8)[None, :]
    a = tl.load(x + (p * B + i) * 8 + j)
    rows = tl.sum(a, axis=1) + tl.max(a, axis=1) + tl.argmax(a, axis=1).to(a.dtype)
    columns = tl.sum(a, axis=0) + tl.min(a, axis=0)
    thin = tl.sum(tl.sum(a, axis=1)[:, None], axis=0)
    turned = tl.sum(tl.trans(a), axis=1) + tl.sum(tl.trans(a), axis=0).reshape(8, B // 8).sum(axis=1)
    scanned = tl.cumsum(a, axis=0) + tl.cumsum(a, axis=1, reverse=True)
    _, h = tl.associative_scan((a, a), 0, pair)
    left, right = tl.split(tl.join(rows, rows * 2).reshape(B, 2))
    total = tl.sum(scanned + h) + tl.sum(columns + turned) + tl.sum(thin) + tl.sum(left * right)
    tl.store(out + p * B + tl.arange(0, B), rows + total.to(a.dtype) + tl.sort(rows))

@triton.jit
def products(x, y, out, n, B: tl.constexpr):
    p = tl.program_id(0)
    i, j = tl.arange(0, 16)[:, None], tl.arange(0, 16)[None, :]
    a, b = tl.load(x + p * 256 + i * 16 + j), tl.load(y + i * 16 + j)
    c = tl.dot(a, b) + tl.dot(tl.trans(a), a) + tl.dot(b, tl.trans(b)) * p
    tl.store(out + p * 256 + i * 16 + j, c.to(out.dtype.element_ty))

@triton.jit
def divided(x, y, out, n, B: tl.constexpr):
    p = tl.program_id(0)
    at = tl.arange(0, B)
    total = tl.zeros([B], tl.float32)
    for i in range(0, p % 3 + 1):
        total += tl.load(x + (p + i) % n * B + at).to(tl.float32) * (i + 1)
    if p % 2 == 0:
        total = total * 2.0
    elif tl.load(y + p).to(tl.float32) > 0:
        total = -total
    scale = 3.0 if p > 4 else 0.5
    steps = p % 4
    while steps > 0:
        total += 0.125
        steps -= 1
    tl.store(out + p * B + at, (total * scale).to(out.dtype.element_ty))

@triton.jit
def ragged(x, y, out, n, B: tl.constexpr):
    p = tl.program_id(0)
    at = tl.arange(0, B)
    total = tl.zeros([B], tl.float32)
    steps, last, place = 0, 0, x + at
    for i in range(p // 2, p):
        other = tl.load(y + i * B + at, mask=at < i, other=1.0).to(tl.float32)
        shared = tl.load(x + at).to(tl.float32)
        for j in range(i % 3, -1, -1):
            total = total * 0.5 + other * j + shared
            steps += 1
        if n > 3:
            total += tl.load(place).to(tl.float32)
        last, place = i, place + B
        tl.store(out + p * B + at, total.to(out.dtype.element_ty), mask=at > 8)
    tl.store(out + p * B + at, (total + steps * 10 + last).to(out.dtype.element_ty))

@triton.jit
def in_place(x, y, out, n, B: tl.constexpr):
    p = tl.program_id(0)
    at = p * B + tl.arange(0, B)
    tl.store(out + at, tl.load(x + at))
    if p % 3 == 1:
        tl.store(out + at, tl.load(out + at) * 2)
    tl.store(out + at, tl.load(out + at) + 1)

@triton.jit
def added(x, y, out, n, B: tl.constexpr):
    p = tl.program_id(0)
    at = p * B + tl.arange(0, B)
    tl.store(out + at, tl.load(x + at))
    tl.atomic_add(y + tl.arange(0, B), tl.load(x + at))
    tl.atomic_add(y + tl.arange(0, B), tl.load(x + at) * 0.3)

@triton.jit
def overlapping(x, y, out, n, B: tl.constexpr):
    p = tl.program_id(0)
    at = p * (B // 2) + tl.arange(0, B)
    tl.store(out + at, tl.load(x + at))
    tl.store(y, 1.0)
    tl.store(out + at, tl.load(out + at) * 1.0)

@triton.jit
def racing(x, y, out, n, B: tl.constexpr):
    p = tl.program_id(0)
    at = tl.arange(0, B)
    tl.store(out + p * B + at, tl.load(x + p * B + at))
    tl.store(y + at, tl.load(x + p * B + at))
    tl.store(out + p * B + at, tl.load(out + (p + 1) % n * B + at))

@triton.jit
def stray(x, y, out, n, B: tl.constexpr):
    p = tl.program_id(0)
    at = p * B + tl.arange(0, B)
    tl.store(out + at + 3, tl.load(x + at + B) + tl.load(out + at))
"""
ADVANCING = """
@triton.jit
def advancing(x, y, out, n, B: tl.constexpr):
    p = tl.program_id(0)
    block = tl.make_block_ptr(x, (n * B,), (1,), (p * B,), (B,), (0,))
    total = tl.zeros([B], tl.float32)
    for i in range(0, p % 5):
        total += tl.load(block, boundary_check=(0,)).to(tl.float32)
        block = tl.advance(block, (B,))
    total += tl.load(block, boundary_check=(0,)).to(tl.float32) * 3
    tl.store(out + p * B + tl.arange(0, B), total.to(out.dtype.element_ty))
"""
PROGRAMS, BLOCK = 19, 16
PLAIN = ("elementwise", "reduced", "products", "divided", "ragged")
SHARED = ("in_place", "added", "overlapping", "racing", "stray")


@pytest.fixture(scope="module")
def kernels() -> dict[str, JITFunction]:
    return load_kernels(SOURCE, "<programs side by side>")


def run(
    kernel: JITFunction,
    dtype: str,
    *,
    batch: bool,
    conflicts: bool = True,
    order: Any = "forward",
    rounding: int | None = None,
) -> tuple[Any, ...]:
    """Everything that a launch leaves: the bytes of all buffers, what was written, events and counts."""
    arena = Arena()
    size = 4 if dtype == "float32" else 2
    count = PROGRAMS * 256
    buffers = {name: arena.add(name, count * size, written=name != "out") for name in ("x", "y", "out")}
    arena.freeze(0x5A)
    for seed, name in enumerate(("x", "y")):
        values = np.random.Generator(np.random.Philox(seed)).standard_normal(count).astype(np.float32)
        raw = bits_of(values, dtype)
        buffers[name].view(raw.dtype)[:] = raw
    counters = Counters()
    arguments = {name: PointerArg(buffer=buffer, dtype=dtype) for name, buffer in buffers.items()}
    run_launch(
        kernel,
        {**arguments, "n": PROGRAMS, "B": BLOCK},
        grid=(PROGRAMS, 1, 1),
        arena=arena,
        counters=counters,
        limits=WorkLimits(),
        conflicts=conflicts,
        batch=batch,
        order=order,
        rounding=rounding,
    )
    held = tuple(buffer.bytes.tobytes() + buffer.written.tobytes() for buffer in buffers.values())
    return held, arena.events, asdict(counters)


@pytest.mark.parametrize("name", [*PLAIN, *SHARED])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_side_by_side_is_one_after_another(kernels: dict[str, JITFunction], name: str, dtype: str) -> None:
    language().schedules.forget()
    alone = run(kernels[name], dtype, batch=False)
    assert [run(kernels[name], dtype, batch=True) for _ in range(2)] == [alone] * 2  # the schedule learns


@pytest.mark.parametrize("name", [*PLAIN, "in_place", "added"])
def test_side_by_side_needs_no_search_for_conflicts(kernels: dict[str, JITFunction], name: str) -> None:
    language().schedules.forget()
    alone = run(kernels[name], "float32", batch=False, conflicts=False)
    assert [run(kernels[name], "float32", batch=True, conflicts=False) for _ in range(2)] == [alone] * 2


@pytest.mark.parametrize("name", PLAIN)
def test_programs_that_share_nothing_run_in_few_groups(kernels: dict[str, JITFunction], name: str) -> None:
    language().schedules.forget()
    groups: list[int] = []
    builder = language().builder
    original = builder.begin_group
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            builder, "begin_group", lambda numbers: (groups.append(len(numbers)), original(numbers))
        )
        run(kernels[name], "float32", batch=True)
        first = list(groups)
        groups.clear()
        run(kernels[name], "float32", batch=True)
    assert len(first) < 4 * PROGRAMS
    assert sum(groups) == PROGRAMS
    assert len(groups) <= (PROGRAMS if name == "divided" else 2)


@pytest.mark.parametrize("name", [*PLAIN, "in_place", "added"])
def test_other_roundings_are_drawn_as_by_each_program_alone(
    kernels: dict[str, JITFunction], name: str
) -> None:
    language().schedules.forget()
    alone = run(kernels[name], "float32", batch=False, rounding=7)
    assert [run(kernels[name], "float32", batch=True, rounding=7) for _ in range(2)] == [alone] * 2


@pytest.mark.skipif(not hasattr(tl, "make_block_ptr"), reason="this Triton has no block pointers")
def test_block_pointers_advance_for_those_that_take_part() -> None:
    kernel = load_kernels(ADVANCING, "<block pointers side by side>")["advancing"]
    assert run(kernel, "float32", batch=True) == run(kernel, "float32", batch=False)


def test_a_race_is_found_either_way_and_by_the_order(kernels: dict[str, JITFunction]) -> None:
    for batch in (True, False):
        _, events, _ = run(kernels["racing"], "float32", batch=batch)
        assert {event.kind for event in events} >= {"conflict between programs"}
    forward, reverse = (
        run(kernels["racing"], "float32", batch=True, order=order)[0] for order in ("forward", "reverse")
    )
    assert forward != reverse


def test_the_order_changes_nothing_where_there_is_no_race(kernels: dict[str, JITFunction]) -> None:
    for name in (*PLAIN, "in_place"):
        answers = {run(kernels[name], "float32", batch=True, order=o)[0] for o in ("forward", "reverse")}
        assert len(answers) == 1
