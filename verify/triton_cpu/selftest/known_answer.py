"""How a known answer is asked for: one kernel, small inputs, one output, exact comparison."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from verify.triton_cpu.interpreter import numerics
from verify.triton_cpu.interpreter.handles import FORMATS, TYPES, Array
from verify.triton_cpu.interpreter.launch import Argument, Counters, PointerArg, WorkLimits, run_launch
from verify.triton_cpu.memory.arena import Arena, MemoryEvent
from verify.triton_cpu.private import JITFunction

Kernels = Mapping[str, JITFunction]
Check = Callable[[Kernels], str | None]


def nearest(value: float, digits: int) -> float:
    """The float with `digits` binary digits next to `value`, ties to even; exponents are not bounded."""
    fraction, exponent = math.frexp(value)
    return math.ldexp(round(fraction * 2.0**digits), exponent - digits)


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
    batch: bool = True,
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
    run_launch(
        kernel,
        arguments,
        grid=grid,
        arena=arena,
        counters=Counters(),
        limits=limits or WorkLimits(),
        batch=batch,
    )
    return values_of(out.view(raw).copy(), out_dtype), arena.events


def same(got: Array, want: Any, *, what: str) -> str | None:
    """None where `got` is exactly `want` (a NaN equals a NaN), else what was expected and what came."""
    expected = np.asarray(want)
    if got.shape == expected.shape and np.array_equal(got, expected, equal_nan=got.dtype.kind == "f"):
        return None
    return f"{what}: expected {expected.ravel()[:6].tolist()}, got {got.ravel()[:6].tolist()}"
