"""Known answers about the language and the layer: loops, choices, captured names, reductions, memory, limits.

Some name a fault of the interpreter that Triton ships, some a guarantee of this layer.
"""

from __future__ import annotations

import numpy as np

from verify.triton_cpu.interpreter.launch import (
    Argument,
    Counters,
    PointerArg,
    WorkLimitExceeded,
    WorkLimits,
    run_launch,
)
from verify.triton_cpu.memory.arena import Arena, MemoryEvent
from verify.triton_cpu.private import JITFunction, core, tl
from verify.triton_cpu.selftest.kernels import SOURCE
from verify.triton_cpu.selftest.known_answer import Check, Kernels, run_once, same


def _loop_variables(kernels: Kernels) -> str | None:
    got, _ = run_once(kernels["loops"], {}, ("out", 4, "int64"), {"n": 3, "first": 2**40})
    wrapped = (2 * 2000000000 + 2**31) % 2**32 - 2**31
    return same(
        got,
        np.array([wrapped, 2, 2, 2**40], np.int64),
        what="loop variables are int32 tensors that wrap, int64 where a bound is",
    )


def _choices(kernels: Kernels) -> str | None:
    x = np.array([5.0, -5.0, 0.5, np.nan], np.float32)
    got, _ = run_once(
        kernels["choices"], {"x": (x, "float32")}, ("out", 6, "float32"), {"n": 5, "FLAG": True, "N": 4}
    )
    want = np.array([2.0, -1.0, 0.5, 2.0, 1.0, 2.0], np.float32)
    return same(got, want, what="min, max, and, or, not, is of tensors")


def _captured(kernels: Kernels) -> str | None:
    x = np.array([4.0, 1.0, 16.0, 0.25], np.float32)
    got, _ = run_once(kernels["captured"], {"x": (x, "float32")}, ("out", 9, "float32"), {"N": 4})
    want = np.array([0.25, 16.0, 1.0, 4.0, 0.5, 1.0, 0.25, 2.0, 16.0], np.float32)
    return same(got, want, what="functions of the language under names of the module")


def _assembly(kernels: Kernels) -> str | None:
    x, y = np.array([1.5, -2.0, 3.0, 0.25], np.float32), np.array([2.0, 3.0, 1.0, -1.0], np.float32)
    inputs = {"x": (x, "float32"), "y": (y, "float32")}
    got, _ = run_once(kernels["assembled"], inputs, ("out", 4, "float32"), {"N": 4})
    return same(got, x * y - x, what="inline assembly of straight-line PTX")


def _float_scalars(kernels: Kernels) -> str | None:
    x = np.array([3.0], np.float32)
    got, _ = run_once(kernels["scalar"], {"x": (x, "float32")}, ("out", 3, "float64"), {"factor": 0.1})
    tenth, three = np.float32(0.1), np.float32(3.0)
    want = [float(tenth), float(tenth * three), float(tenth * three - np.float32(0.3))]
    return same(got, np.array(want, np.float64), what="float arguments are float32")


def _scan(kernels: Kernels) -> str | None:
    g, x = np.array([0.5, 0.25, 2.0, 0.5] * 2, np.float32), np.arange(8, dtype=np.float32)
    want, h = [], np.float32(0)
    for decay, step in zip(g, x, strict=True):
        h = h * decay + step
        want.append(h)
    got, _ = run_once(
        kernels["scan"], {"g": (g, "float32"), "x": (x, "float32")}, ("out", 8, "float32"), {"N": 8}
    )
    return same(
        got, np.array(want, np.float32), what="associative_scan with a combine function of two values"
    )


def _reduce(kernels: Kernels) -> str | None:
    x = np.array([1.0, -4.0, 3.0, 3.0, -4.0, 0.0, 2.0, 2.0], np.float32)
    got, _ = run_once(kernels["reduced"], {"x": (x, "float32")}, ("out", 11, "float32"), {"N": 8})
    want = [-4.0, 2.0, 1.0, *np.cumsum(x[::-1])[::-1]]
    return same(
        got, np.array(want, np.float32), what="reduce with a function, argmax, argmin, reverse cumsum"
    )


def _together(kernels: Kernels) -> str | None:
    x = np.arange(40, dtype=np.float32) % 7 - 2
    ways = [
        run_once(
            kernels["together"],
            {"x": (x, "float32")},
            ("out", 20, "float32"),
            {"N": 8},
            grid=(5, 1, 1),
            batch=batch,
        )[0]
        for batch in (True, False)
    ]
    rows = x.reshape(5, 8)
    want = [[row.sum() * pid, row.max() - pid, row[pid], 3.0 * (pid % 3)] for pid, row in enumerate(rows)]
    wrong = same(ways[1], np.array(want, np.float32).ravel(), what="programs one after another")
    return wrong or same(ways[0], ways[1], what="programs as one batch")


def _memory_events(kernels: Kernels) -> str | None:
    line = SOURCE[: SOURCE.index("value = tl.load")].count("\n") + 1
    x = np.array([1.0, 2.0, 3.0], np.float32)
    _, events = run_once(kernels["stray"], {"x": (x, "float32")}, ("out", 2, "float32"), {"n": 2, "N": 4})
    seen = [(event.kind, event.buffer, event.line - line, event.offset, event.count) for event in events]
    want = [("out-of-bounds load", "x", 0, 3, 1), ("out-of-bounds store", "out", 1, 2, 2)]
    if seen != want:
        return f"out-of-bounds accesses are reported and dropped: expected {want}, got {seen}"
    events = _unwritten_events(kernels)
    return (
        None
        if [e.kind for e in events] == ["never-written read"]
        else (f"reads of never-written memory are reported: got {[e.kind for e in events]}")
    )


def _unwritten_events(kernels: Kernels) -> tuple[MemoryEvent, ...]:
    arena = Arena()
    x, out = arena.add("x", 16, written=False), arena.add("out", 16, written=False)
    arena.freeze(0x7F)
    arguments: dict[str, Argument] = {
        "x": PointerArg(buffer=x, dtype="float32"),
        "out": PointerArg(buffer=out, dtype="float32"),
        "N": 4,
    }
    run_launch(
        kernels["convert"], arguments, grid=(1, 1, 1), arena=arena, counters=Counters(), limits=WorkLimits()
    )
    return arena.events


def _limits(kernels: Kernels) -> str | None:
    try:
        run_once(kernels["endless"], {}, ("out", 1, "int32"), limits=WorkLimits(loop_steps=20))
    except WorkLimitExceeded as error:
        return None if error.what == "loop steps" else f"a loop limit is named: got {error.what}"
    return "an endless loop is stopped: it ended by itself"


def _restored(kernels: Kernels) -> str | None:
    before = {name: vars(core.tensor).get(name) for name in ("__init__", "__add__", "sum", "T")}
    calls = (tl.load, core.reduce, core.dtype.to_ir, JITFunction.__call__)
    run_once(kernels["loops"], {}, ("out", 4, "int64"), {"n": 2, "first": 0})
    after = {name: vars(core.tensor).get(name) for name in before}
    if before != after or calls != (tl.load, core.reduce, core.dtype.to_ir, JITFunction.__call__):
        return "triton.language is as it was after a launch: something stayed patched"
    return None


CHECKS: dict[str, Check] = {
    "loop variables": _loop_variables,
    "choices": _choices,
    "captured functions": _captured,
    "inline assembly": _assembly,
    "float scalars": _float_scalars,
    "associative scan": _scan,
    "reduce": _reduce,
    "programs together": _together,
    "memory events": _memory_events,
    "work limits": _limits,
    "restored": _restored,
}
