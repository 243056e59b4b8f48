"""Known answers: does this layer, on the Triton that is installed, compute what a device computes?

Each check names one fault of the stock interpreter (or one guarantee of ours) and fails if its correction is
gone. A judge runs these before anything else and refuses to judge when one fails.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from verify.triton_cpu import numerics, private
from verify.triton_cpu.handles import FORMATS, TYPES, Array
from verify.triton_cpu.launch import (
    Argument,
    Counters,
    KernelError,
    PointerArg,
    WorkLimitExceeded,
    WorkLimits,
    load_kernels,
    run_launch,
)
from verify.triton_cpu.memory import Arena, MemoryEvent
from verify.triton_cpu.private import JITFunction, core, tl
from verify.triton_cpu.selftest_kernels import SOURCE

_FILE = "aira_selftest_kernels.py"
Kernels = Mapping[str, JITFunction]
Check = Callable[[Kernels], str | None]


def bits_of(values: Array, dtype: str) -> Array:
    """Values as they lie in memory for `dtype` ("float32", "bfloat16", "float8e4nv", ...)."""
    form = FORMATS[TYPES[dtype].name]
    if TYPES[dtype].name in numerics.FLOAT8:
        return numerics.float8_bits(values, TYPES[dtype].name)
    rounded = (
        numerics.round_bfloat16(values) if dtype == "bfloat16" else np.asarray(values).astype(form.compute)
    )
    return form.encode(rounded).astype(form.raw, copy=False)


def values_of(raw: Array, dtype: str) -> Array:
    """The inverse of `bits_of`, float8 as float32."""
    name = TYPES[dtype].name
    return numerics.from_float8_bits(raw, name) if name in numerics.FLOAT8 else FORMATS[name].decode(raw)


def run_once(
    kernel: JITFunction,
    inputs: Mapping[str, tuple[Array, str]],
    output: tuple[str, int, str],
    scalars: Mapping[str, Argument] | None = None,
    *,
    grid: tuple[int, int, int] = (1, 1, 1),
    written: bool = False,
    limits: WorkLimits | None = None,
) -> tuple[Array, tuple[MemoryEvent, ...]]:
    """Run a kernel on fresh buffers: `inputs` name -> (values, dtype), `output` (name, elements, dtype).

    Returns the output's values and the memory events.
    """
    arena = Arena()
    for name, (values, dtype) in inputs.items():
        arena.add(name, values.size * FORMATS[TYPES[dtype].name].raw.itemsize, written=True)
    out_name, count, out_dtype = output
    raw = FORMATS[TYPES[out_dtype].name].raw
    out = arena.add(out_name, count * raw.itemsize, written=written)
    arena.freeze(0 if written else 0xFF)
    arguments: dict[str, Argument] = {out_name: PointerArg(buffer=out, dtype=out_dtype), **(scalars or {})}
    for name, (values, dtype) in inputs.items():
        arena[name].view(FORMATS[TYPES[dtype].name].raw)[:] = bits_of(values.ravel(), dtype)
        arguments[name] = PointerArg(buffer=arena[name], dtype=dtype)
    run_launch(kernel, arguments, grid=grid, arena=arena, counters=Counters(), limits=limits or WorkLimits())
    return values_of(out.view(raw).copy(), out_dtype), arena.events


def _same(got: Array, want: Any, *, what: str) -> str | None:
    expected = np.asarray(want)
    if got.shape == expected.shape and np.array_equal(got, expected, equal_nan=got.dtype.kind == "f"):
        return None
    return f"{what}: expected {expected.ravel()[:6].tolist()}, got {got.ravel()[:6].tolist()}"


def _bfloat16_arithmetic(kernels: Kernels) -> str | None:
    x, y = (
        np.array([1.0078125, 3.0, 0.1, -7.0], np.float32),
        np.array([1.0078125, 1.0 / 3, 0.3, 0.01], np.float32),
    )
    a, b = (values_of(bits_of(v, "bfloat16"), "bfloat16") for v in (x, y))
    got, _ = run_once(
        kernels["arithmetic"], {"x": (x, "bfloat16"), "y": (y, "bfloat16")}, ("out", 16, "bfloat16"), {"N": 4}
    )
    # 1.0078125 squared is 1.01568603515625: a tie-free case that truncation and raw bits both get wrong
    literal = [1.015625, 1.0, 0.0301513671875]
    wrong = _same(got[:3], literal, what="bfloat16 multiplication rounds to nearest even")
    return wrong or _same(
        got[8:], np.concatenate([-a, np.maximum(a, b)]), what="bfloat16 negation and maximum"
    )


def _bfloat16_rounding(kernels: Kernels) -> str | None:
    x = np.array(
        [1.00390625, 1.01171875, 1.005, -1.00390625, 3.3895314e38, np.inf, np.nan, 1e-40], np.float32
    )
    want = [1.0, 1.015625, 1.0078125, -1.0, 3.3895314e38, np.inf, np.nan, 9.9734e-41]
    got, _ = run_once(kernels["convert"], {"x": (x, "float32")}, ("out", 8, "bfloat16"), {"N": 8})
    return _same(got[:7], np.array(want[:7], np.float32), what="float32 to bfloat16 rounds to nearest even")


def _bfloat16_sums(kernels: Kernels) -> str | None:
    x = np.array([1.0, 2.0, 0.5, 2.421875], np.float32)
    got, _ = run_once(kernels["sums"], {"x": (x, "bfloat16")}, ("out", 5, "bfloat16"), {"N": 4})
    return _same(got, np.array([5.9375, 1.0, 3.0, 3.5, 5.9375], np.float32), what="bfloat16 sum and cumsum")


def _bfloat16_products(kernels: Kernels) -> str | None:
    x = np.arange(256, dtype=np.float32).reshape(16, 16) % 7 - 3
    y = np.arange(256, dtype=np.float32).reshape(16, 16) % 5 - 2
    got, _ = run_once(
        kernels["product"],
        {"x": (x, "bfloat16"), "y": (y, "bfloat16")},
        ("out", 256, "bfloat16"),
        {"N": 16, "P": "ieee"},
    )
    return _same(got, (x @ y).ravel(), what="bfloat16 dot")


def _float8_saturates(kernels: Kernels) -> str | None:
    x = np.array([1000.0, -1000.0, 0.3, 17.0], np.float32)
    got, _ = run_once(kernels["convert"], {"x": (x, "float32")}, ("out", 4, "float8e4nv"), {"N": 4})
    return _same(got, np.array([448.0, -448.0, 0.3125, 16.0], np.float32), what="float32 to float8 saturates")


def _integers_saturate(kernels: Kernels) -> str | None:
    x = np.array([np.inf, -np.inf, np.nan, 3e9, -2.9, 2.9, 0.0, -3e9], np.float32)
    top, low = 2**31 - 1, -(2**31)
    got, _ = run_once(kernels["convert"], {"x": (x, "float32")}, ("out", 8, "int32"), {"N": 8})
    return _same(
        got, np.array([top, low, 0, top, -2, 2, 0, low], np.int32), what="float32 to int32 saturates"
    )


def _loop_variables(kernels: Kernels) -> str | None:
    got, _ = run_once(kernels["loops"], {}, ("out", 3, "int64"), {"n": 3})
    wrapped = (2 * 2000000000 + 2**31) % 2**32 - 2**31
    return _same(got, np.array([wrapped, 2, 2], np.int64), what="loop variables are int32 tensors that wrap")


def _choices(kernels: Kernels) -> str | None:
    x = np.array([5.0, -5.0, 0.5, np.nan], np.float32)
    got, _ = run_once(
        kernels["choices"], {"x": (x, "float32")}, ("out", 6, "float32"), {"n": 5, "FLAG": True, "N": 4}
    )
    want = np.array([2.0, -1.0, 0.5, 2.0, 1.0, 2.0], np.float32)
    return _same(got, want, what="min, max, and, or, not, is of tensors")


def _float_scalars(kernels: Kernels) -> str | None:
    x = np.array([3.0], np.float32)
    got, _ = run_once(kernels["scalar"], {"x": (x, "float32")}, ("out", 2, "float64"), {"factor": 0.1})
    want = [float(np.float32(0.1)), float(np.float32(0.1) * np.float32(3.0))]
    return _same(got, np.array(want, np.float64), what="float arguments are float32")


def _tf32(kernels: Kernels) -> str | None:
    x, y = np.eye(16, dtype=np.float32) * np.float32(1.0 + 2.0**-12 + 2.0**-9), np.eye(16, dtype=np.float32)
    answers = []
    for precision in ("tf32", "ieee"):
        got, _ = run_once(
            kernels["product"],
            {"x": (x, "float32"), "y": (y, "float32")},
            ("out", 256, "float32"),
            {"N": 16, "P": precision},
        )
        answers.append(float(got[0]))
    return _same(np.array(answers), [1.0 + 2.0**-9, 1.0 + 2.0**-12 + 2.0**-9], what="tf32 and ieee dots")


def _scan(kernels: Kernels) -> str | None:
    g, x = np.array([0.5, 0.25, 2.0, 0.5] * 2, np.float32), np.arange(8, dtype=np.float32)
    want, h = [], np.float32(0)
    for decay, step in zip(g, x, strict=True):
        h = h * decay + step
        want.append(h)
    got, _ = run_once(
        kernels["scan"], {"g": (g, "float32"), "x": (x, "float32")}, ("out", 8, "float32"), {"N": 8}
    )
    return _same(
        got, np.array(want, np.float32), what="associative_scan with a combine function of two values"
    )


def _integers(kernels: Kernels) -> str | None:
    x = np.array([-7, 7, -1, 2**31 - 1], np.int32)
    got, _ = run_once(kernels["shifts"], {"x": (x, "int32")}, ("out", 12, "int32"), {"N": 4})
    want = [-4, 3, -1, 2**30 - 1, (2**32 - 7) >> 1, 3, 2**31 - 1, 2**30 - 1, -1, 1, 0, 2**29 - 1]
    return _same(got, np.array(want, np.int32), what="integer shifts and division")


def _fused(kernels: Kernels) -> str | None:
    x = np.array([1.0 + 2.0**-12], np.float32)
    inputs = {"x": (x, "float32"), "y": (x, "float32"), "z": (np.array([-1.0], np.float32), "float32")}
    got, _ = run_once(kernels["fused"], inputs, ("out", 1, "float32"))
    return _same(got, np.array([2.0**-11 + 2.0**-24], np.float32), what="fma rounds once")


def _maximum_drops_nan(kernels: Kernels) -> str | None:
    x, y = np.array([np.nan, 1.0], np.float32), np.array([2.0, np.nan], np.float32)
    got, _ = run_once(
        kernels["arithmetic"], {"x": (x, "float32"), "y": (y, "float32")}, ("out", 8, "float32"), {"N": 2}
    )
    return _same(got[6:], np.array([2.0, 1.0], np.float32), what="maximum prefers a number to NaN")


def _atomics(kernels: Kernels) -> str | None:
    x = np.array([1.0, 2.0, 3.0, 0.5], np.float32)
    for dtype in ("bfloat16", "float32"):
        got, _ = run_once(kernels["atomics"], {"x": (x, dtype)}, ("out", 1, dtype), {"N": 4}, written=True)
        wrong = _same(got, np.array([6.5], np.float32), what=f"atomic_add of four lanes to one {dtype}")
        if wrong:
            return wrong
    return None


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
    run_once(kernels["loops"], {}, ("out", 3, "int64"), {"n": 2})
    after = {name: vars(core.tensor).get(name) for name in before}
    if before != after or calls != (tl.load, core.reduce, core.dtype.to_ir, JITFunction.__call__):
        return "triton.language is as it was after a launch: something stayed patched"
    return None


def _device_functions(_kernels: Kernels) -> str | None:
    got = numerics.erf(np.array([0.5], np.float32))
    high = numerics.multiply_high(np.array([2**63 + 5], np.uint64), np.array([6], np.uint64))
    if abs(float(got[0]) - math.erf(0.5)) > 1e-7 or int(high[0]) != (2**63 + 5) * 6 >> 64:
        return f"erf and umulhi: got {got.tolist()} and {high.tolist()}"
    return None


CHECKS: dict[str, Check] = {
    "bfloat16 arithmetic": _bfloat16_arithmetic,
    "bfloat16 rounding": _bfloat16_rounding,
    "bfloat16 sums": _bfloat16_sums,
    "bfloat16 dot": _bfloat16_products,
    "float8": _float8_saturates,
    "float to integer": _integers_saturate,
    "loop variables": _loop_variables,
    "choices": _choices,
    "float scalars": _float_scalars,
    "tf32": _tf32,
    "associative scan": _scan,
    "integers": _integers,
    "fma": _fused,
    "maximum": _maximum_drops_nan,
    "atomics": _atomics,
    "memory events": _memory_events,
    "work limits": _limits,
    "restored": _restored,
    "device functions": _device_functions,
}


def run() -> list[str]:
    """Every check on fresh kernels; the failures as "name: what was expected, what came". Empty when all
    hold.
    """
    if not private.supported():
        low, high = (".".join(map(str, bound)) for bound in private.SUPPORTED)
        return [f"version: expected Triton {low} to {high}, got {'.'.join(map(str, private.VERSION))}"]
    kernels = load_kernels(SOURCE, _FILE)
    failures = []
    for name, check in CHECKS.items():
        try:
            failure = check(kernels)
        except (KernelError, WorkLimitExceeded, AttributeError, TypeError, ValueError, KeyError) as error:
            failure = f"{type(error).__name__}: {error}"
        if failure is not None:
            failures.append(f"{name}: {failure}")
    return failures
