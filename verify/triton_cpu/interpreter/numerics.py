"""Number formats that NumPy lacks, rounded as a device rounds them.

bfloat16 values travel as float32 arrays that hold bfloat16-representable numbers; only memory holds their 16
bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

Array = npt.NDArray[Any]
Float32 = npt.NDArray[np.float32]

_U16 = np.uint32(16)
_ONE = np.uint32(1)
_HALF = np.uint32(0x7FFF)
_HIGH = np.uint32(0xFFFF0000)
_NAN = np.float32(np.nan)

FLOAT8: dict[str, torch.dtype | None] = {
    "fp8e4b15": None,  # Triton's own
    "fp8e4nv": torch.float8_e4m3fn,
    "fp8e5": torch.float8_e5m2,
    "fp8e4b8": torch.float8_e4m3fnuz,
    "fp8e5b16": torch.float8_e5m2fnuz,
}


def round_bfloat16(values: Array) -> Float32:
    """Nearest bfloat16, ties to even, NaN kept, overflow to infinity; float32 in, float32 out, any shape."""
    source = np.ascontiguousarray(values, dtype=np.float32)
    bits = source.view(np.uint32)
    rounded = np.right_shift(bits, _U16)
    np.bitwise_and(rounded, _ONE, rounded)
    np.add(rounded, _HALF, rounded)
    np.add(rounded, bits, rounded)
    np.bitwise_and(rounded, _HIGH, rounded)
    result = rounded.view(np.float32)
    np.putmask(result, np.isnan(source), _NAN)
    return result


def truncate_bfloat16(values: Array) -> Float32:
    """The bfloat16 next to zero from each value; float32 in, float32 out."""
    source = np.ascontiguousarray(values, dtype=np.float32)
    cut = (source.view(np.uint32) & _HIGH).view(np.float32)
    return np.where(np.isnan(source), source, cut).reshape(np.shape(values))


def bfloat16_bits(values: Float32) -> npt.NDArray[np.uint16]:
    """The 16 bits of values that `round_bfloat16` produced."""
    source = np.ascontiguousarray(values, dtype=np.float32)
    return (source.view(np.uint32) >> _U16).astype(np.uint16).reshape(np.shape(values))


def from_bfloat16_bits(bits: npt.NDArray[np.uint16]) -> Float32:
    """float32 values of 16-bit patterns."""
    return (bits.astype(np.uint32) << _U16).view(np.float32)


def round_tf32(values: Array) -> Float32:
    """Ten explicit mantissa bits, ties away from zero (PTX cvt.rna.tf32.f32); infinities and NaN
    unchanged.
    """
    source = np.ascontiguousarray(values, dtype=np.float32)
    rounded = ((source.view(np.uint32) + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view(np.float32)
    return np.where(np.isfinite(source), rounded, source).reshape(np.shape(values))


def round_tf32_even(values: Array) -> Float32:
    """Ten explicit mantissa bits, ties to even, as a tensor map of type TFLOAT32 loads them; infinities and
    NaN unchanged.
    """
    source = np.ascontiguousarray(values, dtype=np.float32)
    bits = source.view(np.uint32)
    bias = ((bits >> np.uint32(13)) & _ONE) + np.uint32(0xFFF)
    rounded = ((bits + bias) & np.uint32(0xFFFFE000)).view(np.float32)
    return np.where(np.isfinite(source), rounded, source).reshape(np.shape(values))


def round_bfloat16_pair(values: Array) -> Float32:
    """The sum of the two bfloat16 numbers that stand for a float32 operand of a dot in three products
    ("bf16x3"); infinities and NaN unchanged.
    """
    source = np.ascontiguousarray(values, dtype=np.float32)
    high = round_bfloat16(source)
    with np.errstate(invalid="ignore"):
        both = high + round_bfloat16(source - high)
    return np.where(np.isfinite(source), both, source).reshape(np.shape(values))


def truncate_float16(values: Array) -> npt.NDArray[np.float16]:
    """The float16 next to zero from each value; a finite value never becomes infinite."""
    source = np.asarray(values)
    with np.errstate(over="ignore"):
        nearest = source.astype(np.float16)
    beyond = np.abs(nearest.astype(np.float64)) > np.abs(source.astype(np.float64))
    return np.where(beyond, np.nextafter(nearest, np.float16(0)), nearest)


def float8_bits(values: Array, name: str) -> npt.NDArray[np.uint8]:
    """The 8 bits of the nearest value of `name` ('fp8e4nv', ...), saturating to the largest finite; NaN
    stays NaN (in 'fp8e4b15', which has none, it becomes the largest).
    """
    if name == "fp8e4b15":
        return _e4b15_bits(values)
    dtype = FLOAT8[name]
    largest = torch.finfo(dtype).max
    source = np.clip(np.ascontiguousarray(values, dtype=np.float32), -largest, largest)
    bits: npt.NDArray[np.uint8] = torch.from_numpy(source).to(dtype).view(torch.uint8).numpy()
    return bits.reshape(np.shape(values))


def from_float8_bits(bits: npt.NDArray[np.uint8], name: str) -> Float32:
    """float32 values of 8-bit patterns of `name`."""
    if name == "fp8e4b15":
        wide = bits.astype(np.uint16)
        halves = ((wide & np.uint16(0x80)) << np.uint16(8)) | ((wide & np.uint16(0x7F)) << np.uint16(7))
        return halves.view(np.float16).astype(np.float32)
    values: Float32 = torch.from_numpy(np.ascontiguousarray(bits)).view(FLOAT8[name]).float().numpy()
    return values.reshape(np.shape(bits))


def _e4b15_bits(values: Array) -> npt.NDArray[np.uint8]:
    """Through float16, whose exponent has the same bias: clamped to 1.75, ties away from zero (what Triton
    emits for NVIDIA).
    """
    with np.errstate(over="ignore"):
        bits = np.ascontiguousarray(values).astype(np.float16).view(np.uint16)
    magnitude = np.minimum(bits & np.uint16(0x7FFF), np.uint16(0x3F00))
    rounded = (magnitude * np.uint16(2) + np.uint16(0x80)) >> np.uint16(8)
    signed: npt.NDArray[np.uint8] = (rounded | ((bits >> np.uint16(8)) & np.uint16(0x80))).astype(np.uint8)
    return signed.reshape(np.shape(values))


def saturating_integers(values: Array, dtype: np.dtype[Any]) -> Array:
    """Truncate towards zero and clamp to the range of `dtype`, as PTX's cvt.rzi.

    NaN becomes 0, and where either side has 64 bits the pattern with only the highest bit set. An 8-bit
    integer is the low byte of a 16-bit one, because Triton's compiler converts to 16 bits there.
    """
    if dtype.itemsize == 1:
        return saturating_integers(values, np.dtype(f"{dtype.kind}2")).astype(dtype)
    limits = np.iinfo(dtype)
    source = np.asarray(values)
    whole = np.trunc(source.astype(np.float64, copy=False))
    inside = (whole > float(limits.min)) & (whole < float(limits.max))
    # scalars of the dtype: NumPy 2.5 takes no Python integer beyond int64 here
    edge = np.where(whole >= float(limits.max), dtype.type(limits.max), dtype.type(limits.min))
    unknown = 0
    if source.dtype == np.float64 or dtype.itemsize == 8:
        unknown = limits.min if dtype.kind == "i" else 1 << (dtype.itemsize * 8 - 1)
    edge = np.where(np.isnan(whole), np.asarray(unknown, dtype), edge)
    return np.where(inside, np.where(inside, whole, 0.0).astype(dtype), edge)


def erf(values: Array) -> Array:
    """The error function in the dtype of the argument."""
    result: Array = torch.special.erf(torch.from_numpy(np.ascontiguousarray(values))).numpy()
    return result.reshape(np.shape(values))


def fused_multiply_add(x: Array, y: Array, z: Array) -> Array:
    """x * y + z rounded once: exact product in float64 for float16 and float32 operands."""
    if z.dtype == np.float64:
        double: Array = x * y + z
        return double
    exact: Array = np.multiply(x, y, dtype=np.float64) + z
    return exact.astype(z.dtype)


def multiply_high(x: Array, y: Array) -> Array:
    """The upper half of an unsigned product, in the bits of the operands' dtype (32 or 64 bits)."""
    dtype = x.dtype
    bits = dtype.itemsize * 8
    left, right = x.view(f"u{dtype.itemsize}"), y.view(f"u{dtype.itemsize}")
    if bits < 64:
        wide = left.astype(np.uint64) * right.astype(np.uint64)
        return (wide >> np.uint64(bits)).astype(left.dtype).view(dtype)
    low, shift = np.uint64(0xFFFFFFFF), np.uint64(32)
    a, b, c, d = left >> shift, left & low, right >> shift, right & low
    middle = a * d + ((b * d) >> shift)
    cross = b * c + (middle & low)
    high: Array = a * c + (middle >> shift) + (cross >> shift)
    return high.view(dtype)
