"""From what a launcher passes to what a kernel receives, typed by Triton's own binder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from verify.triton_cpu import private
from verify.triton_cpu.interpreter.handles import FORMATS, Handle
from verify.triton_cpu.interpreter.launch import Argument, Prepared, language
from verify.triton_cpu.interpreter.numerics import round_bfloat16
from verify.triton_cpu.private import core, tl

Place = Callable[[str, torch.Tensor], tuple[Any, int]]

SCALARS: dict[str, Any] = {
    "u1": tl.int1,
    "i1": tl.int1,
    **{f"i{bits}": getattr(tl, f"int{bits}") for bits in (8, 16, 32, 64)},
    **{f"u{bits}": getattr(tl, f"uint{bits}") for bits in (8, 16, 32, 64)},
    "fp16": tl.float16,
    "bf16": tl.bfloat16,
    "fp32": tl.float32,
    "fp64": tl.float64,
    "fp8e4nv": tl.float8e4nv,
    "fp8e5": tl.float8e5,
    "fp8e4b8": tl.float8e4b8,
    "fp8e5b16": tl.float8e5b16,
    "fp8e4b15": tl.float8e4b15,
}
"""Triton's short names in a signature -> its types."""


def arguments(bound: private.Bound, place: Place) -> dict[str, Argument]:
    """Arguments for `run_launch`, by parameter; `place` says where a tensor lies (buffer, byte offset)."""
    return {name: _argument(name, value, bound.types[name], place) for name, value in bound.values.items()}


def _argument(name: str, value: Any, kind: Any, place: Place) -> Prepared:
    if kind == "constexpr":
        constant = value.value if private.is_constexpr(value) else value
        key = constant if isinstance(constant, (int, float, str, type(None))) else str(constant)
        return Prepared(make=lambda: constant, key=key)
    if isinstance(kind, tuple):
        return _tuple(name, value, kind, place)
    if kind.startswith("*"):
        return _pointer(name, value, kind, place)
    if kind.startswith("tensordesc"):
        return _descriptor(name, value, kind, place)
    if kind in SCALARS:
        return Prepared(make=lambda: _scalar(value, SCALARS[kind]), key=value)
    raise TypeError(f"expected argument {name} to be a tensor, a number or a descriptor, got type {kind}")


def _scalar(value: Any, dtype: Any) -> Any:
    data = np.array([value]).astype(FORMATS[dtype.name].compute)
    return core.tensor(Handle(round_bfloat16(data) if dtype.name == "bf16" else data, dtype), dtype)


def _pointer(name: str, value: Any, kind: str, place: Place) -> Prepared:
    element = SCALARS[kind.removeprefix("*").removeprefix("k")]
    base = value if isinstance(value, torch.Tensor) else value.base  # triton.reinterpret wraps a tensor
    buffer, offset = place(name, base)

    def make() -> Any:
        dtype = core.pointer_type(element)
        return core.tensor(Handle(np.array([buffer.base + offset], np.int64), dtype, buffer), dtype)

    return Prepared(make=make, buffers=(buffer,))


def _tuple(name: str, value: Any, kind: Any, place: Place) -> Prepared:
    parts = [
        _argument(f"{name}[{at}]", part, of, place)
        for at, (part, of) in enumerate(zip(value, kind, strict=True))
    ]
    fields = getattr(type(value), "_fields", None)

    def make() -> Any:
        made = [part.make() for part in parts]
        values = [part if hasattr(part, "type") else core.constexpr(part) for part in made]
        return core.tuple(values, core.tuple_type([part.type for part in values], fields))

    return Prepared(
        make=make,
        key=str([part.key for part in parts]),
        buffers=tuple(buffer for part in parts for buffer in part.buffers),
    )


def _descriptor(name: str, value: Any, kind: str, place: Place) -> Prepared:
    element = kind.split("<", 1)[1].split("[", 1)[0]
    base = _pointer(name, value.base, f"*{element}", place)

    def make() -> Any:
        semantic = language().semantic
        shape = [_scalar(extent, tl.int32) for extent in value.shape]
        strides = [*(_scalar(step, tl.int64) for step in value.strides[:-1]), core.constexpr(1)]
        block = [core.constexpr(extent) for extent in value.block_shape]
        padding = getattr(value, "padding", "zero")
        descriptor = semantic.make_tensor_descriptor(base.make(), shape, strides, block, padding)
        descriptor.handle.tf32 = getattr(value, "round_f32_to_tf32", False)
        return descriptor

    return Prepared(make=make, key=str((value.shape, value.strides, value.block_shape)), buffers=base.buffers)
