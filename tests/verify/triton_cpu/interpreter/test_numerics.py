"""Conversions against PyTorch, bit for bit, over every pattern where there are few enough."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from verify.triton_cpu.interpreter import numerics


def floats(count: int = 4096) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    bits = np.random.Generator(np.random.Philox(7)).integers(0, 2**32, count, dtype=np.uint32)
    special = np.array(
        [0.0, -0.0, np.inf, -np.inf, np.nan, 3.4e38, 1e-45, 1.00390625, 1.01171875], np.float32
    )
    return np.concatenate([bits.view(np.float32), special])


def test_bfloat16_rounding_equals_torch() -> None:
    x = floats()
    want = torch.from_numpy(x).bfloat16().float().numpy()
    assert np.array_equal(numerics.round_bfloat16(x), want, equal_nan=True)


def test_nan_with_a_low_payload_stays_nan_in_bfloat16() -> None:
    x = np.array([0x7F800001, 0xFFFFFFFF, 0xFF800001], np.uint32).view(np.float32)
    rounded = numerics.round_bfloat16(x)
    assert np.isnan(rounded).all()
    assert np.isnan(numerics.from_bfloat16_bits(numerics.bfloat16_bits(rounded))).all()


def test_bfloat16_bits_round_trip() -> None:
    bits = np.arange(65536, dtype=np.uint32).astype(np.uint16)
    finite = bits[~np.isnan(numerics.from_bfloat16_bits(bits))]
    assert np.array_equal(numerics.bfloat16_bits(numerics.from_bfloat16_bits(finite)), finite)


@pytest.mark.parametrize("name", sorted(numerics.FLOAT8))
def test_float8_round_trips_and_saturates(name: str) -> None:
    bits = np.arange(256, dtype=np.uint8)
    values = numerics.from_float8_bits(bits, name)
    finite = bits[np.isfinite(values)]
    if name == "fp8e4b15":
        finite = finite[(finite & 0x7F) != 0x7F]  # 1.875 can be read but is never written
    assert np.array_equal(numerics.float8_bits(numerics.from_float8_bits(finite, name), name), finite)
    dtype = numerics.FLOAT8[name]
    largest = 1.75 if dtype is None else torch.finfo(dtype).max
    beyond = numerics.float8_bits(np.array([1e30, -1e30], np.float32), name)
    assert numerics.from_float8_bits(beyond, name).tolist() == [largest, -largest]


def test_tf32_keeps_ten_bits_and_ties_go_away_from_zero() -> None:
    step = 2.0**-10
    x = np.array([1 + step / 2, -1 - step / 2, 1 + step * 0.49, 1 + step, np.inf, np.nan], np.float32)
    want = np.array([1 + step, -1 - step, 1.0, 1 + step, np.inf, np.nan], np.float32)
    assert np.array_equal(numerics.round_tf32(x), want, equal_nan=True)


def test_tf32_of_a_tensor_map_ties_to_even() -> None:
    step = 2.0**-10
    x = np.array([1 + step / 2, 1 + 1.5 * step, -1 - step * 0.51, 1 + step, np.inf, np.nan], np.float32)
    want = np.array([1.0, 1 + 2 * step, -1 - step, 1 + step, np.inf, np.nan], np.float32)
    assert np.array_equal(numerics.round_tf32_even(x), want, equal_nan=True)


def test_two_bfloat16_numbers_hold_sixteen_bits() -> None:
    x = floats()
    x = x[np.isfinite(x) & (np.abs(x) > 1e-30) & (np.abs(x) < 1e38)]
    pair = numerics.round_bfloat16_pair(x)
    assert (np.abs(pair - x) <= np.abs(x) * 2.0**-16).all()
    assert (pair != numerics.round_bfloat16(x)).any()
    odd = np.array([np.inf, -np.inf, np.nan], np.float32)
    assert np.array_equal(numerics.round_bfloat16_pair(odd), odd, equal_nan=True)


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64])
@pytest.mark.parametrize("source", [np.float32, np.float64])
def test_floats_become_integers_by_truncation_and_clamping(
    source: type[np.floating],  # type: ignore[type-arg]
    dtype: type[np.integer],  # type: ignore[type-arg]
) -> None:
    info = np.iinfo(dtype)
    x = np.array([np.inf, -np.inf, 3.99, -3.99, 1e30, -1e30], source)
    want = [info.max, info.min, 3, max(-3, info.min), info.max, info.min]
    assert numerics.saturating_integers(x, np.dtype(dtype)).tolist() == want
    # PTX: a NaN is 0, or the highest bit alone where either side has 64 bits
    unknown = numerics.saturating_integers(np.array([np.nan], source), np.dtype(dtype))
    wide = 64 in (np.finfo(source).bits, info.bits)
    assert int(unknown.view(f"u{info.bits // 8}")[0]) == (1 << (info.bits - 1) if wide else 0)


def test_eight_bit_integers_are_the_low_half_of_sixteen() -> None:
    x = np.array([300.0, -300.0, 1e9, -1e9, -1.5], np.float32)
    assert numerics.saturating_integers(x, np.dtype(np.int8)).tolist() == [44, -44, -1, 0, -1]
    assert numerics.saturating_integers(x, np.dtype(np.uint8)).tolist() == [44, 0, 255, 0, 0]


def test_truncation_moves_towards_zero() -> None:
    x = floats()
    x = x[np.isfinite(x)]
    for cut in (numerics.truncate_bfloat16(x), numerics.truncate_float16(x)):
        assert (np.abs(cut.astype(np.float64)) <= np.abs(x.astype(np.float64))).all()
        assert np.isfinite(cut).all()


def test_product_and_sum_are_rounded_once() -> None:
    x = np.array([1 + 2.0**-12], np.float32)
    assert numerics.fused_multiply_add(x, x, np.array([-1.0], np.float32))[0] == np.float32(
        2.0**-11 + 2.0**-24
    )


@pytest.mark.parametrize("dtype", [np.uint32, np.uint64, np.int32, np.int64])
def test_the_high_half_of_a_product_is_exact(dtype: type[np.integer]) -> None:  # type: ignore[type-arg]
    bits = np.dtype(dtype).itemsize * 8
    draw = np.random.Generator(np.random.Philox(3)).integers(0, 2**bits, (2, 100), dtype=f"u{bits // 8}")
    got = numerics.multiply_high(draw[0].view(dtype), draw[1].view(dtype)).view(f"u{bits // 8}")
    want = [int(a) * int(b) >> bits for a, b in draw.T]
    assert got.tolist() == want
