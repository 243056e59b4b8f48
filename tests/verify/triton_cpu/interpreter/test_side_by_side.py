"""Kernels in which programs part and meet again, against the same programs one after another."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

from verify.triton_cpu.interpreter.launch import (
    Counters,
    KernelError,
    PointerArg,
    WorkLimits,
    language,
    load_kernels,
    run_launch,
)
from verify.triton_cpu.memory.arena import Arena
from verify.triton_cpu.private import tl

SOURCE = """
from triton.language.extra import libdevice

@triton.jit
def loop_variable_afterwards(x, i, out, s, B: tl.constexpr):
    p = tl.program_id(0)
    k = p * 0
    for k in range(0, p % 5 + 1):
        tl.store(out + p * 64 + k, k * 1.5)
    tl.store(out + p * 64 + 30, k)

@triton.jit
def loop_variables_used_again(x, i, out, s, B: tl.constexpr):
    p = tl.program_id(0)
    k = p * 0
    for k in range(0, p % 5 + 1):
        tl.store(out + p * 64 + k, k * 1.5)
        for j in range(k, p % 3):
            tl.store(out + p * 64 + 8 + j, k * 2.5)
        for m in tl.static_range(2):
            tl.store(out + p * 64 + 16 + m, k * 3.5)
        tl.store(out + p * 64 + 20, m + k)
    for k in range(0, p % 3):
        tl.store(out + p * 64 + 40 + k, k * 1.5)
    for step in range(0, p % 4):
        k = p + step
        tl.store(out + p * 64 + 50 + step, k * 0.5)

@triton.jit
def step_down_in_a_variable(x, i, out, s, B: tl.constexpr):
    p = tl.program_id(0)
    down = -1
    for k in range(10, p % 3, down):
        tl.store(out + p * 64 + k, k * 1.0)

@triton.jit
def bounds_far_apart(x, i, out, s, B: tl.constexpr):
    p = tl.program_id(0)
    low, high = -9223372036854775807 + p.to(tl.int64), 9223372036854775807 - p.to(tl.int64)
    count = p * 0
    for k in range(low, high, 9223372036854775807):
        count += 1
    tl.store(out + p, count * 1.0)

@triton.jit
def constants_of_a_body(x, i, out, s, B: tl.constexpr):
    p = tl.program_id(0)
    c: tl.constexpr = 3
    d = 5
    for k in range(0, p % 3):
        c: tl.constexpr = 7
        d: tl.constexpr = 9
    tl.store(out + p, p * 1.0 + c + d)

@triton.jit
def gather_up_to_the_end(x, i, out, s, B: tl.constexpr):
    p = tl.program_id(0)
    at = tl.arange(0, B)
    row = tl.load(x + p * 64 + at)
    place = at * 0 + B - 1 - p % 5
    total = tl.zeros([B], tl.float32)
    for k in range(0, p % 5 + 1):
        total += tl.gather(row, place, 0)
        place += 1
    tl.store(out + p * 64 + at, total)

@triton.jit
def atomics_in_branches(x, i, out, s, B: tl.constexpr):
    p = tl.program_id(0)
    if p % 2 == 0:
        ticket = tl.atomic_add(i, 1)
        tl.atomic_add(s, 1e8)
    else:
        ticket = tl.atomic_add(i, 1)
        tl.atomic_add(s, 0.3)
    tl.store(out + p * 64, ticket * 1.0)

@triton.jit
def stored_twice_before_a_branch(x, i, out, s, B: tl.constexpr):
    p = tl.program_id(0)
    at = tl.arange(0, B)
    tl.store(out + p * 64 + at, at * 1.0 + p)
    tl.debug_barrier()
    tl.store(out + p * 64 + B - 1 - at, at * 3.0 + p)
    if p % 2 == 0:
        tl.store(s + p * 64 + at, at * 1.0)
    else:
        tl.store(s + p * 64 + at, at * 2.0)

@triton.jit
def out_of_bounds_in_branches(x, i, out, s, B: tl.constexpr):
    p = tl.program_id(0)
    at = tl.arange(0, B)
    if p % 2 == 0:
        tl.store(out + p * 64 + at, tl.load(x + 767 + at))
    else:
        tl.store(out + p * 64 + at, tl.load(x + 767 + p + at))

@triton.jit
def barrier_of_some(x, i, out, s, B: tl.constexpr):
    p = tl.program_id(0)
    at = tl.arange(0, B)
    tl.store(s + p * 64 + at, at * 1.0 + p)
    for k in range(0, p % 2):
        tl.debug_barrier()
    tl.store(out + p * 64 + at, tl.load(s + p * 64 + B - 1 - at))

@triton.jit
def left_by_some(x, i, out, s, B: tl.constexpr):
    p = tl.program_id(0)
    count = p * 0
    for k in range(0, p % 5):
        if k == 1:
            continue
        count += 10
        if k == 3:
            break
        count += k
    tl.store(out + p * 64, count * 1.0)
    for k in range(0, p % 5):
        tl.store(out + p * 64 + 8 + k, k * 1.0)
        if k == 2:
            return
    tl.store(out + p * 64 + 32, 1.0)

@triton.jit
def summed(row, at, k, steps):
    total, seen = at * 0.0, 0
    for j in range(0, steps):
        total += tl.load(row + j + at) * k
        seen += j
    return total * seen

@triton.jit
def function_called_by_some(x, i, out, s, B: tl.constexpr):
    p = tl.program_id(0)
    at = tl.arange(0, B)
    total, q, pair = at * 1.0, x + p * 64, (at * 1.0, p)
    for k in range(p % 3, 7, p % 2 + 1):
        total += summed(x + p * 64, at, k, (p + k) % 3)
        j = k + 3
        while j > p % 4:
            total = tl.sort(total) + tl.cumsum(tl.load(q + at), 0) * j
            j -= 2
        if k == 2:
            pair = (pair[0] + total, pair[1] + k)
        for m in range(k, p % 6):
            total = tl.where(at > m, total - tl.load(x + at, mask=at < 7, other=p * 1.0), total)
            q += 1
    tl.store(out + p * 64 + at, total + pair[0] * pair[1] + tl.load(q + at))

@triton.jit
def turned_by_some(x, i, out, s, B: tl.constexpr):
    p = tl.program_id(0)
    at = tl.arange(0, B)
    a = tl.load(x + at[:, None] * B + at[None, :])
    b = tl.load(x + p * B + at[:, None] + at[None, :] * B)
    for k in range(p % 2, 2):
        a = tl.trans(a)
    c = tl.where(at[:, None] > p, a, tl.trans(b))
    tl.store(out + p * 64 + at, tl.sum(tl.trans(b) + c, 1))

@triton.jit
def product_of_what_some_turned(x, i, out, s, B: tl.constexpr):
    p = tl.program_id(0)
    rows, columns, at = tl.arange(0, B), tl.arange(0, 32), tl.arange(0, 64)
    a = tl.load(x + rows[:, None] * 64 // 2 + at[None, :])
    b = tl.load(x + p + columns[None, :] * 8 + at[:, None])
    for k in range(0, p % 2):
        b = tl.trans(tl.load(x + p + columns[:, None] * 9 + at[None, :]))
    tl.store(out + p * 64 + rows, tl.sum(tl.dot(a, b, input_precision="ieee"), 1))

@triton.jit
def device_functions_of_few_lanes(x, i, out, s, B: tl.constexpr):
    p = tl.program_id(0)
    at = tl.arange(0, 4)
    a, b = tl.load(x + p * 8 + at), tl.abs(tl.load(x + p * 8 + at + 4))
    for k in range(0, 9):
        a = libdevice.atan2(a, b + k) + libdevice.pow(b, a)
        b = libdevice.sinh(a * 0.125) + libdevice.exp2(b * 0.25)
        tl.store(out + p * 64 + k * 4 + at, a + b)

@triton.jit
def zeros_beside_nothing_at_all(x, i, out, s, B: tl.constexpr):
    p = tl.program_id(0)
    zeros = tl.load(x + p * 64 + tl.arange(0, B)) * 0.0 / tl.where(p == 1, 0.0, 1.0)
    most, place = tl.max(zeros, 0, return_indices=True)
    tl.store(out + p * 64, most)
    tl.store(out + p * 64 + 1, place * 1.0)

@triton.jit
def no_step(x, i, out, s, B: tl.constexpr):
    p = tl.program_id(0)
    for k in range(p, 10, p * 0):
        tl.store(out + p, 1.0)
"""
MADE_ANEW = """
@triton.jit
def made_anew(x, i, out, s, B: tl.constexpr):
    p = tl.program_id(0)
    at = tl.arange(0, B)
    block = tl.make_block_ptr(x, (768,), (1,), (p * 48,), (B,), (0,))
    total = tl.zeros([B], tl.float32)
    for k in range(0, p % 5):
        total += tl.load(block)
        block = tl.make_block_ptr(x + k * 8, (700,), (1,), (p * 48 + k,), (B,), (0,))
    tl.store(out + p * 64 + at, total + tl.load(block) * 3)
"""
NAMES = [line.split("(")[0].removeprefix("def ") for line in SOURCE.splitlines() if line.startswith("def ")]
ERRORS = {
    "no_step": "expected the step of a loop to be other than zero",
    "loop_variable_afterwards": "the variable of a loop after the loop",
    "step_down_in_a_variable": "expected a negative step to be a constant",
}
PROGRAMS = 12


def ran(name: str, *, source: str = SOURCE, batch: bool, programs: int) -> tuple[Any, ...]:
    """What a launch leaves, and what its error said, if there was one."""
    arena = Arena()
    count = 64 * PROGRAMS
    buffers = {key: arena.add(key, 4 * count, written=key != "out") for key in ("x", "i", "out", "s")}
    arena.freeze(0x5A)
    buffers["x"].view("float32")[:] = np.random.Generator(np.random.Philox(0)).standard_normal(count)
    buffers["i"].view("int32")[:] = 0
    buffers["s"].view("float32")[:] = 0
    types = {"i": "int32"}
    pointers = {key: PointerArg(buffer=b, dtype=types.get(key, "float32")) for key, b in buffers.items()}
    counters, said = Counters(), ""
    try:
        run_launch(
            load_kernels(source, "<some of the programs>")[name],
            {**pointers, "B": 16},
            grid=(programs, 1, 1),
            arena=arena,
            counters=counters,
            limits=WorkLimits(),
            conflicts=True,
            batch=batch,
        )
    except KernelError as error:
        said = error.message
    held = tuple(buffer.bytes.tobytes() + buffer.written.tobytes() for buffer in buffers.values())
    return held, arena.events, asdict(counters), said


@pytest.mark.parametrize("name", [name for name in NAMES if name != "summed" and name not in ERRORS])
@pytest.mark.parametrize("programs", [2, PROGRAMS])
def test_parting_programs_leave_what_they_leave_one_after_another(name: str, programs: int) -> None:
    language().schedules.forget()
    alone = ran(name, batch=False, programs=programs)
    assert alone[3] == ""
    assert ran(name, batch=True, programs=programs) == alone


@pytest.mark.skipif(not hasattr(tl, "make_block_ptr"), reason="this Triton has no block pointers")
def test_block_pointers_made_anew_are_those_of_who_made_them() -> None:
    alone = ran("made_anew", source=MADE_ANEW, batch=False, programs=PROGRAMS)
    assert ran("made_anew", source=MADE_ANEW, batch=True, programs=PROGRAMS) == alone


@pytest.mark.parametrize("name", ERRORS)
def test_what_a_device_would_do_otherwise_is_an_error_for_one_program_and_for_many(name: str) -> None:
    for batch in (False, True):
        assert ERRORS[name] in ran(name, batch=batch, programs=PROGRAMS)[3]


def test_a_barrier_counts_for_those_that_came_to_it() -> None:
    _, [event], _, _ = ran("barrier_of_some", batch=True, programs=PROGRAMS)
    assert (event.kind, event.program, event.count) == ("missing barrier", (0, 0, 0), 16 * PROGRAMS // 2)


PLAIN = "@triton.jit\ndef _aira_plain(v):\n    return v * 0\n\n"
ALL = "x, i, out, s, B: tl.constexpr"


@pytest.mark.parametrize(
    "text",
    [
        f"{PLAIN}@triton.jit\ndef k({ALL}):\n    tl.store(x, _aira_plain(tl.load(x)))\n",
        f"@triton.jit\ndef k({ALL}):\n    _aira_partial = tl.load(x)\n    tl.store(x, _aira_partial)\n",
        f"@triton.jit\ndef k({ALL}, _aira_kept: tl.constexpr = 1):\n    tl.store(x, 1.0)\n",
        f"@triton.jit\ndef k({ALL}):\n    try:\n        tl.store(x, 1.0)\n    except:\n        pass\n",
    ],
    ids=["function", "variable", "parameter", "try"],
)
def test_a_kernel_cannot_speak_of_the_helpers_nor_catch_what_they_raise(text: str) -> None:
    for batch in (False, True):
        assert "expected" in ran("k", source=text, batch=batch, programs=2)[3]
