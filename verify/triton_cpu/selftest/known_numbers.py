"""Known answers about numbers: formats, roundings, conversions, products and sums.

Most of them the interpreter that Triton ships gets wrong (`python -m verify.triton_cpu.bench.faults` shows
which, under the Triton that is installed); the others are what it has right and a correction must not lose.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from verify.triton_cpu.interpreter.handles import Array
from verify.triton_cpu.interpreter.launch import KernelError
from verify.triton_cpu.selftest.known_answer import (
    Check,
    Kernels,
    bits_of,
    nearest,
    run_once,
    same,
    values_of,
)

BFLOAT16, FLOAT16 = 8, 11
"""Binary digits of a number, the leading one included."""


def _converted(kernels: Kernels, values: Sequence[float], source: str, target: str) -> Array:
    x = np.zeros(1 << (len(values) - 1).bit_length(), np.float32)  # blocks are powers of two
    x[: len(values)] = values
    got, _ = run_once(kernels["convert"], {"x": (x, source)}, ("out", x.size, target), {"N": x.size})
    return got[: len(values)]


def _product(kernels: Kernels, x: Array, y: Array, dtypes: tuple[str, str], precision: str | None) -> Array:
    size = x.shape[0]
    inputs = {"x": (x, dtypes[0]), "y": (y, dtypes[0])}
    if precision is None:
        got, _ = run_once(kernels["usual_product"], inputs, ("out", size * size, dtypes[1]), {"N": size})
    else:
        scalars = {"N": size, "P": precision}
        got, _ = run_once(kernels["product"], inputs, ("out", size * size, dtypes[1]), scalars)
    return got


def _small_matrices(size: int) -> tuple[Array, Array]:
    count = np.arange(size * size, dtype=np.float32).reshape(size, size)
    return count % 7 - 3, count % 5 - 2


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
    wrong = same(got[:3], literal, what="bfloat16 multiplication rounds to nearest even")
    return wrong or same(
        got[8:], np.concatenate([-a, np.maximum(a, b)]), what="bfloat16 negation and maximum"
    )


def _bfloat16_functions(kernels: Kernels) -> str | None:
    x, y, z = [1.0703125, -3.0, 5.0, 0.75], [1.0703125, -2.0, 1.0, 0.5], [4.0, -1.0, 2.0, 0.625]
    inputs = {
        name: (np.array(values, np.float32), "bfloat16")
        for name, values in zip("xyz", (x, y, z), strict=True)
    }
    got, _ = run_once(kernels["functions"], inputs, ("out", 24, "bfloat16"), {"N": 4})
    rows: list[list[float]] = [
        [a * b + c for a, b, c in zip(x, y, z, strict=True)],
        [min(max(a, b), c) for a, b, c in zip(x, y, z, strict=True)],
        [abs(a) for a in x],
        [max(a, b) for a, b in zip(x, y, strict=True)],
        [a - c for a, c in zip(x, z, strict=True)],
        [a / b for a, b in zip(x, y, strict=True)],
    ]
    want = [nearest(value, BFLOAT16) for row in rows for value in row]
    return same(got, np.array(want, np.float32), what="bfloat16 fma, clamp, abs, where, -, /")


def _bfloat16_rounding(kernels: Kernels) -> str | None:
    x = [1.00390625, 1.01171875, 1.005, -1.00390625, 3.3895314e38, math.inf, math.nan]
    want = np.array([1.0, 1.015625, 1.0078125, -1.0, 3.3895314e38, math.inf, math.nan], np.float32)
    wrong = same(
        _converted(kernels, x, "float32", "bfloat16"), want, what="float32 to bfloat16 rounds to nearest even"
    )
    half = _converted(kernels, [1.00390625, 1.01171875, 257.0, -259.0], "float16", "bfloat16")
    whole = _converted(kernels, [257.0, 259.0, -1.0], "int32", "bfloat16")
    return (
        wrong
        or same(half, np.array([1.0, 1.015625, 256.0, -260.0], np.float32), what="float16 to bfloat16")
        or same(whole, np.array([256.0, 260.0, -1.0], np.float32), what="int32 to bfloat16")
    )


def _truncation(kernels: Kernels) -> str | None:
    x = np.array([1.005, -1.0117, 3.0, 1.999], np.float32)
    got, _ = run_once(kernels["towards_zero"], {"x": (x, "float32")}, ("out", 8, "float32"), {"N": 4})
    want = [
        math.copysign(math.floor(abs(float(v)) * 2.0**bits) / 2.0**bits, v) for bits in (7, 10) for v in x
    ]
    want[2], want[6] = 3.0, 3.0
    return same(got, np.array(want, np.float32), what="conversions to bfloat16 and float16 towards zero")


def _bfloat16_sums(kernels: Kernels) -> str | None:
    x = np.array([1.0, 2.0, 0.5, 2.421875], np.float32)
    got, _ = run_once(kernels["sums"], {"x": (x, "bfloat16")}, ("out", 5, "bfloat16"), {"N": 4})
    return same(got, np.array([5.9375, 1.0, 3.0, 3.5, 5.9375], np.float32), what="bfloat16 sum and cumsum")


def _float16_sums(kernels: Kernels) -> str | None:
    x = np.array([2048.0, 1.0, 1.0, 1.0], np.float32)
    got, _ = run_once(kernels["sums"], {"x": (x, "float16")}, ("out", 5, "float32"), {"N": 4})
    # 2048 + 1 is no float16: a sum that is rounded only at its end would be 2052
    wrong = same(got[:1], np.array([2050.0], np.float32), what="float16 sums round at every level")
    fit = _converted(kernels, [65519.0, 65520.0, 2.0**-25, 2.0**-24 * 1.5], "float32", "float16")
    limits = np.array([65504.0, math.inf, 0.0, 2.0**-23], np.float16)
    return wrong or same(fit, limits, what="float32 to float16 rounds to nearest even")


def _bfloat16_products(kernels: Kernels) -> str | None:
    x, y = _small_matrices(16)
    got = _product(kernels, x, y, ("bfloat16", "bfloat16"), "ieee")
    return same(got, (x @ y).ravel(), what="bfloat16 dot")


def _float16_products(kernels: Kernels) -> str | None:
    x = np.full((16, 16), 240.0, np.float32)
    got = _product(kernels, x, x, ("float16", "float32"), "ieee")
    return same(got[:1], np.array([16 * 240.0**2], np.float32), what="float16 dot adds up in float32")


def _float8(kernels: Kernels) -> str | None:
    x = [1000.0, -math.inf, math.nan, 0.3, 17.0, 19.0, 2.0**-9, 2.0**-10, 3 * 2.0**-10]
    want = [448.0, -448.0, math.nan, 0.3125, 16.0, 20.0, 2.0**-9, 0.0, 2.0**-8]
    got = _converted(kernels, x, "float32", "float8e4nv")
    wrong = same(got, np.array(want, np.float32), what="float32 to e4m3: nearest even, saturating, subnormal")
    x = [1e5, -math.inf, math.nan, 61439.0, 1.125, 1.375, 2.0**-16, 2.0**-17, 3 * 2.0**-17]
    want = [57344.0, -57344.0, math.nan, 57344.0, 1.0, 1.5, 2.0**-16, 0.0, 2.0**-15]
    got = _converted(kernels, x, "float32", "float8e5")
    wrong = wrong or same(
        got, np.array(want, np.float32), what="float32 to e5m2: nearest even, saturating, subnormal"
    )
    exact = [448.0, -(2.0**-9), 0.0, 1.125]
    for target in ("float32", "bfloat16", "float16"):
        back = _converted(kernels, exact, "float8e4nv", target).astype(np.float32)
        wrong = wrong or same(back, np.array(exact, np.float32), what=f"e4m3 to {target}")
    return wrong


def _float8_products(kernels: Kernels) -> str | None:
    x, y = _small_matrices(32)
    for dtype in ("float8e4nv", "float8e5"):
        wrong = same(
            _product(kernels, x, y, (dtype, "float32"), "ieee"), (x @ y).ravel(), what=f"{dtype} dot"
        )
        if wrong:
            return wrong
    return None


def _float8_arithmetic(kernels: Kernels) -> str | None:
    x = np.array([1.0, 2.0, -3.0, 0.5], np.float32)
    inputs = {"x": (x, "float8e4nv"), "y": (x, "float8e4nv")}
    try:
        got, _ = run_once(kernels["arithmetic"], inputs, ("out", 16, "float8e4nv"), {"N": 4})
    except KernelError as error:
        said = "does not compile" in error.message
        return None if said else f"arithmetic on float8 is refused: got {error.message}"
    return f"arithmetic on float8, which does not compile, is refused: got {got[:4].tolist()}"


def _integer_products(kernels: Kernels) -> str | None:
    x = np.full((32, 32), -128, np.int8)
    y = (np.arange(1024, dtype=np.int64).reshape(32, 32) % 256 - 128).astype(np.int8)
    got = _product(kernels, x, y, ("int8", "int32"), "ieee")
    return same(got, (x.astype(np.int32) @ y.astype(np.int32)).ravel(), what="int8 dot adds up in int32")


def _integers_saturate(kernels: Kernels) -> str | None:
    x = [math.inf, -math.inf, math.nan, 3e9, -2.9, 2.9, 0.0, -3e9]
    # NaN and 8 bits as PTX's cvt.rzi has them: 8 bits are the low half of 16
    want: dict[str, list[int]] = {
        "int32": [2**31 - 1, -(2**31), 0, 2**31 - 1, -2, 2, 0, -(2**31)],
        "int64": [2**63 - 1, -(2**63), -(2**63), 3 * 10**9, -2, 2, 0, -3 * 10**9],
        "uint32": [2**32 - 1, 0, 0, 3 * 10**9, 0, 2, 0, 0],
        "int8": [-1, 0, 0, -1, -2, 2, 0, 0],
    }
    for dtype, values in want.items():
        got = _converted(kernels, x, "float32", dtype)
        wrong = same(got, np.array(values, dtype), what=f"float32 to {dtype} saturates")
        if wrong:
            return wrong
    return None


def _integers(kernels: Kernels) -> str | None:
    x = np.array([-7, 7, -1, 2**31 - 1], np.int32)
    got, _ = run_once(kernels["shifts"], {"x": (x, "int32")}, ("out", 16, "int32"), {"N": 4})
    want = [
        -4,
        3,
        -1,
        2**30 - 1,
        (2**32 - 7) >> 1,
        3,
        2**31 - 1,
        2**30 - 1,
        -1,
        1,
        0,
        2**29 - 1,
        -3,
        3,
        -1,
        3,
    ]
    return same(got, np.array(want, np.int32), what="integer shifts, division and remainder")


def _integer_widths(kernels: Kernels) -> str | None:
    x = np.array([-7, 100, -128, 0], np.int8)
    got, _ = run_once(kernels["widths"], {"x": (x, "int8")}, ("out", 20, "float64"), {"N": 4})
    want: list[Any] = [-14, -56, 0, 0, 249, 100, 128, 0, 2**32 - 7, 100, 2**32 - 128, 0, 1, 1, 1, 0]
    return same(
        got, np.array([*want, *([-35] * 4)], np.float64), what="int8 wraps, and becomes wider by its sign"
    )


def _tf32(kernels: Kernels) -> str | None:
    x, y = np.eye(16, dtype=np.float32) * np.float32(1.0 + 2.0**-12 + 2.0**-9), np.eye(16, dtype=np.float32)
    rounded, exact = 1.0 + 2.0**-9, 1.0 + 2.0**-12 + 2.0**-9
    want = {"tf32": rounded, "ieee": exact, "tf32x3": exact, None: rounded}
    got = [float(_product(kernels, x, y, ("float32", "float32"), name)[0]) for name in want]
    return same(
        np.array(got), list(want.values()), what="dots in tf32, ieee, tf32x3 and as they are by default"
    )


def _fused(kernels: Kernels) -> str | None:
    x = np.array([1.0 + 2.0**-12], np.float32)
    inputs = {"x": (x, "float32"), "y": (x, "float32"), "z": (np.array([-1.0], np.float32), "float32")}
    got, _ = run_once(kernels["fused"], inputs, ("out", 1, "float32"))
    return same(got, np.array([2.0**-11 + 2.0**-24], np.float32), what="fma rounds once")


def _maximum_drops_nan(kernels: Kernels) -> str | None:
    x, y = np.array([np.nan, 1.0], np.float32), np.array([2.0, np.nan], np.float32)
    got, _ = run_once(
        kernels["arithmetic"], {"x": (x, "float32"), "y": (y, "float32")}, ("out", 8, "float32"), {"N": 2}
    )
    return same(got[6:], np.array([2.0, 1.0], np.float32), what="maximum prefers a number to NaN")


def _clamp(kernels: Kernels) -> str | None:
    x = np.array([np.nan, 7.0], np.float32)
    got, _ = run_once(kernels["clamped"], {"x": (x, "float32")}, ("out", 6, "float32"), {"N": 2})
    want = np.array([-1.0, 1.0, np.nan, 1.0, np.nan, 7.0], np.float32)
    return same(got, want, what="clamp prefers a number to NaN, unless NaN is asked for")


def _atomics(kernels: Kernels) -> str | None:
    x = np.array([1.0, 2.0, 3.0, 0.5], np.float32)
    for dtype in ("bfloat16", "float16", "float32"):
        got, _ = run_once(kernels["atomics"], {"x": (x, dtype)}, ("out", 1, dtype), {"N": 4}, written=True)
        wrong = same(
            got.astype(np.float32), np.array([6.5], np.float32), what=f"atomic_add of lanes to one {dtype}"
        )
        if wrong:
            return wrong
    return None


def _device_functions(kernels: Kernels) -> str | None:
    x = np.array([0.5, 4.0, 0.25, 2.0], np.float32)
    got, _ = run_once(kernels["device"], {"x": (x, "float32")}, ("out", 13, "float64"), {"N": 4})
    want = [*map(math.erf, x), *(1 / math.sqrt(v) for v in x), *map(math.tanh, x), 0xFFFFFFFE]
    close = np.abs(got - np.array(want)) <= 1e-6 * np.abs(want)
    if close.all():
        return None
    at = int(np.argmin(close))
    return f"erf, rsqrt, libdevice.tanh and umulhi: expected {want[at]}, got {got[at]}"


CHECKS: dict[str, Check] = {
    "bfloat16 arithmetic": _bfloat16_arithmetic,
    "bfloat16 functions": _bfloat16_functions,
    "bfloat16 rounding": _bfloat16_rounding,
    "bfloat16 sums": _bfloat16_sums,
    "bfloat16 dot": _bfloat16_products,
    "truncation": _truncation,
    "float16 sums": _float16_sums,
    "float16 dot": _float16_products,
    "float8": _float8,
    "float8 dot": _float8_products,
    "float8 arithmetic": _float8_arithmetic,
    "int8 dot": _integer_products,
    "float to integer": _integers_saturate,
    "integers": _integers,
    "integer widths": _integer_widths,
    "tf32": _tf32,
    "fma": _fused,
    "maximum": _maximum_drops_nan,
    "clamp": _clamp,
    "atomics": _atomics,
    "device functions": _device_functions,
}
