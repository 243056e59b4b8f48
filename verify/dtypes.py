"""The number formats of the contract, in NumPy: storage, exact widening, round-to-nearest-even narrowing, and
ulp.

bfloat16 has no NumPy type; it is stored as uint16 and computed with as float32 or float64. No torch here: the
judge process compares with these functions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.generic]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Format:
    """A dtype by its torch name: storage type, and for floats the number of stored mantissa bits."""

    name: str
    storage: np.dtype[np.generic]
    mantissa_bits: int | None = None
    min_exponent: int = 0

    @property
    def itemsize(self) -> int:
        return int(self.storage.itemsize)


def _float(name: str, storage: str, mantissa_bits: int, min_exponent: int) -> Format:
    return Format(
        name=name, storage=np.dtype(storage), mantissa_bits=mantissa_bits, min_exponent=min_exponent
    )


FORMATS: dict[str, Format] = {
    "float64": _float("float64", "f8", 52, -1022),
    "float32": _float("float32", "f4", 23, -126),
    "float16": _float("float16", "f2", 10, -14),
    "bfloat16": _float("bfloat16", "u2", 7, -126),
    **{
        name: Format(name=name, storage=np.dtype(name))
        for name in ("int8", "int16", "int32", "int64", "uint8")
    },
    "bool": Format(name="bool", storage=np.dtype("bool")),
}


def widen(stored: Array, dtype: str) -> npt.NDArray[np.generic]:
    """Stored values as a NumPy array to compute with: bfloat16 becomes float32 (exact), the rest is
    unchanged.
    """
    if dtype == "bfloat16":
        return (stored.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return stored


def to_float64(stored: Array, dtype: str) -> Float64:
    """Stored values of any format as float64; exact for every float format up to float64."""
    return widen(stored, dtype).astype(np.float64)


def narrow(values: Array, dtype: str) -> Array:
    """Round `values` (any float or integer array) to `dtype`, nearest even, as storage.

    float64 -> bfloat16 goes through float32 with round-to-odd, so there is no double rounding.
    """
    form = FORMATS[dtype]
    if dtype != "bfloat16":
        with np.errstate(over="ignore", invalid="ignore"):
            return np.ascontiguousarray(values).astype(form.storage)
    single = _to_float32_odd(np.ascontiguousarray(values, dtype=np.float64))
    bits = single.view(np.uint32)
    rounded = (
        (bits + (((bits >> np.uint32(16)) & np.uint32(1)) + np.uint32(0x7FFF))) >> np.uint32(16)
    ).astype(np.uint16)
    quiet_nan = ((bits >> np.uint32(16)) | np.uint32(0x40)).astype(np.uint16)
    return np.where(np.isnan(single), quiet_nan, rounded)


def _to_float32_odd(values: Float64) -> npt.NDArray[np.float32]:
    """float64 -> float32 by round-to-odd: inexact results get an odd last bit, which a later rounding cannot
    tie on.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        single = values.astype(np.float32)
        back = single.astype(np.float64)
        inexact = np.isfinite(values) & np.isfinite(back) & (back != values)
        even = (single.view(np.uint32) & np.uint32(1)) == 0
        toward = np.where(values > back, np.float32(np.inf), np.float32(-np.inf))
        return np.where(inexact & even, np.nextafter(single, toward), single)


def ulp(values: Float64, dtype: str) -> Float64:
    """The spacing of `dtype` at |values|, in float64; the subnormal spacing at and near zero."""
    form = FORMATS[dtype]
    if form.mantissa_bits is None:
        raise ValueError(f"ulp is defined for float formats, got {dtype}")
    _, exponent = np.frexp(np.abs(values))
    exponent = np.where(values == 0.0, form.min_exponent, np.maximum(exponent - 1, form.min_exponent))
    spacing: Float64 = np.ldexp(1.0, exponent - form.mantissa_bits)
    return spacing
