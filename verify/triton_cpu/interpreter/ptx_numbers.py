"""The numbers of PTX: instruction types, and what each arithmetic instruction computes.

Source: PTX ISA, "Instruction Set".
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from verify.triton_cpu.interpreter import numerics

Array = npt.NDArray[Any]


class UnsupportedPtx(Exception):
    """Inline assembly that cannot be computed without a device; says which instruction."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """An instruction type: `name` as in ".f32", its width, and how bits become numbers and back."""

    name: str
    bits: int
    decode: Callable[[Array], Array]
    encode: Callable[[Array], Array]

    @property
    def is_float(self) -> bool:
        return self.name in ("f16", "bf16", "f32", "f64")


def unsigned(bits: int) -> np.dtype[Any]:
    """The unsigned integer type of that many bits."""
    return np.dtype(f"u{bits // 8}")


def _viewed(name: str, bits: int, dtype: str) -> Kind:
    raw, number = unsigned(bits), np.dtype(dtype)
    return Kind(
        name=name,
        bits=bits,
        decode=lambda data: np.ascontiguousarray(data).view(number),
        encode=lambda data: np.ascontiguousarray(data, number).view(raw),
    )


KINDS: dict[str, Kind] = {
    **{
        f"{sign}{bits}": _viewed(f"{sign}{bits}", bits, f"{'i' if sign == 's' else 'u'}{bits // 8}")
        for sign in "bus"
        for bits in (8, 16, 32, 64)
    },
    "f16": _viewed("f16", 16, "f2"),
    "f32": _viewed("f32", 32, "f4"),
    "f64": _viewed("f64", 64, "f8"),
    "bf16": Kind(
        name="bf16",
        bits=16,
        decode=numerics.from_bfloat16_bits,
        encode=lambda data: numerics.bfloat16_bits(numerics.round_bfloat16(data)),
    ),
    "pred": Kind(name="pred", bits=1, decode=lambda data: data, encode=lambda data: data.astype(np.bool_)),
}
HALVES = {"f16x2": "f16", "bf16x2": "bf16"}
FLOAT8_PAIRS = {"e4m3x2": "fp8e4nv", "e5m2x2": "fp8e5"}

_UNARY: dict[str, Callable[[Array], Array]] = {
    "mov": lambda x: x,
    "not": lambda x: np.logical_not(x) if x.dtype == np.bool_ else np.invert(x),
    "neg": np.negative,
    "abs": np.abs,
    "ex2": np.exp2,
    "lg2": np.log2,
    "rcp": lambda x: np.ones((), x.dtype) / x,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: np.ones((), x.dtype) / np.sqrt(x),
    "sin": np.sin,
    "cos": np.cos,
    "tanh": np.tanh,
}
_BINARY: dict[str, Callable[[Array, Array], Array]] = {
    "add": np.add,
    "sub": np.subtract,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
}
ORDERED: dict[str, Callable[[Array, Array], Array]] = {
    "eq": np.equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "lo": np.less,
    "ls": np.less_equal,
    "hi": np.greater,
    "hs": np.greater_equal,
}
ROUNDINGS = {"rni": np.rint, "rzi": np.trunc, "rmi": np.floor, "rpi": np.ceil}


def _divided(x: Array, y: Array) -> Array:
    if x.dtype.kind == "f":
        return np.divide(x, y)
    with np.errstate(all="ignore"):
        safe = np.where(y == 0, 1, y).astype(x.dtype)
        quotient = (x - np.fmod(x, safe)) // safe
    return np.where(y == 0, np.array(-1).astype(x.dtype), quotient).astype(x.dtype)


def _remainder(x: Array, y: Array) -> Array:
    safe = np.where(y == 0, 1, y).astype(x.dtype)
    return np.where(y == 0, x, np.fmod(x, safe)).astype(x.dtype)


def _product(x: Array, y: Array, flags: frozenset[str]) -> Array:
    if x.dtype.kind == "f" or "lo" in flags:
        return np.multiply(x, y)
    if x.dtype.itemsize > 4:
        raise UnsupportedPtx("expected mul.hi or mul.wide of at most 32 bits, got 64")
    wide: Array = x.astype(f"{x.dtype.kind}8") * y.astype(f"{y.dtype.kind}8")
    if "wide" in flags:
        return np.asarray(wide, f"{x.dtype.kind}{2 * x.dtype.itemsize}")
    return np.asarray(wide >> (8 * x.dtype.itemsize), x.dtype)


def shifted(x: Array, by: Array, *, left: bool) -> Array:
    """shl or shr: a shift by the width or more leaves zeros, or copies of the sign."""
    bits = 8 * x.dtype.itemsize
    amount = np.minimum(by.astype(np.uint64), bits - 1).astype(x.dtype)
    result = np.left_shift(x, amount) if left else np.right_shift(x, amount)
    beyond = by.astype(np.uint64) >= bits
    return np.where(beyond & (left or x.dtype.kind == "u"), 0, result).astype(x.dtype)


def _extreme(x: Array, y: Array, *, largest: bool, nan: bool) -> Array:
    if x.dtype.kind == "f" and not nan:
        return np.fmax(x, y) if largest else np.fmin(x, y)
    return np.maximum(x, y) if largest else np.minimum(x, y)


def flushed(data: Array) -> Array:
    """Subnormal float32 numbers as zeros of their sign (.ftz)."""
    tiny = np.finfo(np.float32).tiny
    return np.where(np.abs(data) < tiny, np.copysign(np.zeros((), data.dtype), data), data)


def permuted(a: Array, b: Array, selector: Array) -> Array:
    """prmt: four bytes chosen from eight, or their signs."""
    parts = [((word >> np.uint32(8 * at)) & np.uint32(0xFF)) for word in (a, b) for at in range(4)]
    table = np.stack(np.broadcast_arrays(*parts), axis=-1)
    result = np.zeros(table.shape[:-1], np.uint32)
    for at in range(4):
        nibble = np.broadcast_to((selector >> np.uint32(4 * at)) & np.uint32(0xF), result.shape)
        byte = np.take_along_axis(table, (nibble & 7).astype(np.int64)[..., None], axis=-1)[..., 0]
        sign = np.where(byte & np.uint32(0x80), np.uint32(0xFF), np.uint32(0))
        result |= np.where(nibble & 8, sign, byte) << np.uint32(8 * at)
    return result


def looked_up(a: Array, b: Array, c: Array, table: int) -> Array:
    """lop3: any function of three bits, given as its table."""
    result = np.zeros(np.broadcast_shapes(a.shape, b.shape, c.shape), np.uint32)
    for entry in range(8):
        if table >> entry & 1:
            x, y, z = (word if entry & weight else ~word for word, weight in ((a, 4), (b, 2), (c, 1)))
            result |= x & y & z
    return result


def pair(target: str, high: Array, low: Array) -> Array:
    """Two numbers in one register, the first in the high half."""
    if target in FLOAT8_PAIRS:
        name = FLOAT8_PAIRS[target]
        parts = [numerics.float8_bits(part, name).astype(np.uint16) for part in (high, low)]
        return (parts[0] << np.uint16(8)) | parts[1]
    kind = KINDS[HALVES[target]]
    words = [kind.encode(part).astype(np.uint32) for part in (high, low)]
    return (words[0] << np.uint32(16)) | words[1]


def calculate(name: str, kind: Kind, flags: frozenset[str], values: list[Array]) -> Array:
    """An arithmetic instruction on decoded numbers. Raises UnsupportedPtx for one that is not known."""
    if name in _UNARY:
        return _UNARY[name](values[0])
    if name in ("fma", "mad"):
        if kind.is_float:
            return numerics.fused_multiply_add(*values).astype(values[0].dtype)
        return np.add(_product(values[0], values[1], flags), values[2])
    if name == "mul":
        return _product(values[0], values[1], flags)
    if name in _BINARY:
        return _BINARY[name](values[0], values[1])
    if name in ("min", "max"):
        return _extreme(values[0], values[1], largest=name == "max", nan="nan" in flags)
    if name == "div":
        return _divided(values[0], values[1])
    if name == "rem":
        return _remainder(values[0], values[1])
    if name == "copysign":
        return np.copysign(values[1], values[0])
    if name == "popc":
        return np.bitwise_count(values[0]).astype(values[0].dtype)
    raise UnsupportedPtx(f"expected an instruction that is known here, got {name}.{kind.name}")


def immediate(text: str, kind: Kind) -> Array:
    """A literal operand as a number of that type. Raises UnsupportedPtx for anything else."""
    try:
        if re.fullmatch(r"0[fF][0-9a-fA-F]{8}", text):
            return np.array(struct.unpack(">f", bytes.fromhex(text[2:]))[0], np.float32)
        if re.fullmatch(r"0[dD][0-9a-fA-F]{16}", text):
            return np.array(struct.unpack(">d", bytes.fromhex(text[2:]))[0], np.float64)
        if kind.is_float:
            return np.array(float(text), np.float32 if kind.name == "bf16" else f"f{kind.bits // 8}")
        number = int(text.rstrip("Uu"), 0) & ((1 << kind.bits) - 1)
        return kind.decode(np.array([number], unsigned(kind.bits)))[0]  # type: ignore[no-any-return]
    except ValueError:
        raise UnsupportedPtx(f"expected a register or a number, got {text!r}") from None
