"""Small kernels as a library would carry them: at module level, autotuned, with captured names."""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl
from triton.experimental import gluon
from triton.language.extra.libdevice import rsqrt

gather = tl.gather


@triton.jit
def scale(x, out, n, factor, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x + at, mask=at < n)
    tl.store(out + at, value * factor, mask=at < n)


@triton.jit
def unmasked(x, out, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(out + at, tl.load(x + at))


@triton.jit
def row_of(x, out, row, stride, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    first = row * stride
    tl.store(out + at, tl.load(x + first + at))


@triton.jit
def describe(out, one, small, large, wide: tl.int64, exact: tl.float64, flag, nothing):
    tl.store(out + 0, 1 if nothing is None else 0)
    tl.store(out + 1, small.dtype.primitive_bitwidth)
    tl.store(out + 2, large.dtype.primitive_bitwidth)
    tl.store(out + 3, wide.dtype.primitive_bitwidth)
    tl.store(out + 4, exact.dtype.primitive_bitwidth)
    tl.store(out + 5, tl.where(flag, 7, 8))
    tl.static_assert(one == 1)


@triton.jit
def from_tuple(pair, out, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    x, rest = pair
    tl.store(out + at, tl.load(x + at) * rest[1] + rest[0])


@triton.jit
def from_named(pair, out, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(out + at, tl.load(pair.x + at) + pair.shift)


@triton.jit
def block_of(descriptor, out, row, BLOCK: tl.constexpr):
    tile = descriptor.load([row, 0])
    at = tl.arange(0, BLOCK)[:, None] * BLOCK + tl.arange(0, BLOCK)[None, :]
    tl.store(out + at, tile)


@triton.jit
def from_table(table, out, BLOCK: tl.constexpr):
    part = tl.program_id(0)
    x = tl.load(table + part).to(tl.pointer_type(tl.float32))
    at = tl.arange(0, BLOCK)
    tl.store(out + part * BLOCK + at, tl.load(x + at) + 1)


@triton.jit
def chosen(parts, out, BLOCK: tl.constexpr):
    row = tl.arange(0, 2)
    pointer = tl.where(row == 0, parts[0], parts[1])
    at = tl.arange(0, BLOCK)
    tile = tl.load(pointer[:, None] + at[None, :], mask=at[None, :] < BLOCK, other=0.0)
    tl.store(out + row[:, None] * BLOCK + at[None, :], tile * 2)
    tl.store(pointer, -1.0)


@triton.jit
def captured(x, index, out, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    chosen = gather(tl.load(x + at), tl.load(index + at), 0)
    tl.store(out + at, rsqrt(chosen.to(tl.float32)))


@triton.jit
def assembled(x, out, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    doubled = tl.inline_asm_elementwise(
        "add.f32 $0, $1, $1;", "=f,f", [tl.load(x + at)], dtype=tl.float32, is_pure=True, pack=1
    )
    tl.store(out + at, doubled)


@triton.jit
def shift_down(x, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(x + at + 1, tl.load(x + at))


@triton.jit
def between(x, y, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + at, tl.load(x + at) + 1)


@triton.jit
def wait_for(flag):
    while tl.atomic_cas(flag, 1, 1) == 0:
        pass


@gluon.jit
def on_a_device(x):
    pass


@triton.jit
def product(x, y, out, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tile = at[:, None] * BLOCK + at[None, :]
    tl.store(out + tile, tl.dot(tl.load(x + tile), tl.load(y + tile)))


def _clear(arguments: dict[str, Any]) -> None:
    arguments["out"].fill_(-1)


@triton.autotune(
    configs=[
        triton.Config({"BLOCK": 4}, num_warps=1),
        triton.Config({"BLOCK": 8}, num_warps=2),
        triton.Config({"BLOCK": 16}, num_warps=4, pre_hook=_clear),
    ],
    key=["n"],
    prune_configs_by={
        "early_config_prune": lambda configs, named, **_: [
            config for config in configs if config.kwargs["BLOCK"] <= named["n"]
        ]
    },
)
@triton.heuristics({"EVEN": lambda arguments: arguments["n"] % arguments["BLOCK"] == 0})
@triton.jit
def tuned(out, n, BLOCK: tl.constexpr, EVEN: tl.constexpr):
    if tl.program_id(0) == 0:
        tl.store(out, BLOCK)
        tl.store(out + 1, EVEN)
