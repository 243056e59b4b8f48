"""Comparisons fail where a careless verifier passes: shapes, NaN, one wrong row, scales that differ between
rows.
"""

from __future__ import annotations

import numpy as np
import pytest

from verify.judge.tolerance import (
    FACTOR,
    Comparison,
    Float64,
    Truth,
    compare,
    gradient_terms,
    tolerance_map,
)

SHAPE = (2, 40, 2, 16)


def oracle(seed: int = 0) -> Float64:
    return np.random.default_rng(seed).standard_normal(SHAPE)


def perturbed(values: Float64, relative: float) -> list[Float64]:
    generator = np.random.default_rng(1)
    return [values * (1 + 2 * relative * generator.choice([-1.0, 1.0], values.shape)) for _ in range(3)]


def compared(
    got: Float64, values: Float64, *, relative: float = 6e-8, eager: Float64 | None = None, terms: float = 0.0
) -> Comparison:
    plain = values.astype(np.float32).astype(np.float64) if eager is None else eager
    truth = Truth(oracle=values, perturbed=perturbed(values, relative), eager=plain, terms=terms)
    return compare(got, truth, run_dtype="float32", result_dtype="float32")


def ratio(got: Float64, values: Float64) -> float:
    return compared(got, values).ratio


def test_rounding_the_oracle_passes_with_room() -> None:
    values = oracle()
    assert ratio(values.astype(np.float32).astype(np.float64), values) < 0.2


def test_shapes_that_would_broadcast_are_different() -> None:
    values = oracle()
    assert ratio(values[:1], values) == np.inf


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_non_finite_element_fails(bad: float) -> None:
    values = oracle()
    got = values.copy()
    got[1, 39, 1, 15] = bad
    found = compared(got, values)
    assert found.ratio == np.inf
    assert found.where == (1, 39, 1, 15)


def test_a_non_finite_element_fails_even_where_the_oracle_has_one() -> None:
    values = oracle()
    values[0, 0, 0, 0] = np.nan
    assert ratio(values, values) == np.inf


def test_one_wrong_element_is_not_averaged_away() -> None:
    values = oracle()
    got = values.copy()
    got[1, 39, 1, 3] *= 1.001
    found = compared(got, values)
    assert found.ratio > 10
    assert found.where == (1, 39, 1, 3)


def test_a_small_row_beside_large_rows_is_held_to_its_own_scale() -> None:
    values = oracle()
    values[:, :20] *= 1e-6
    got = values.copy()
    got[:, :20] *= 1.001
    assert ratio(got, values) > 10


def test_all_zeros_fail_against_a_small_result() -> None:
    values = 1e-4 * oracle()
    assert ratio(np.zeros(SHAPE), values) > 1e5


def test_a_one_percent_scale_falls_in_float32() -> None:
    values = oracle()
    assert ratio(values * 1.01, values) > 100


def test_the_tolerance_follows_the_sensitivity_of_the_reference() -> None:
    values = oracle()
    noisy = values + 1e-4 * np.random.default_rng(3).standard_normal(SHAPE)
    assert ratio(noisy, values) > 10
    assert compared(noisy, values, relative=1e-4).ratio < 1


def test_a_window_that_cancels_is_allowed_what_plain_arithmetic_loses_there() -> None:
    values = np.random.default_rng(5).standard_normal((1, 8, 1, 64))
    values[0, 0] = 1e-9
    got, plain = values.copy(), values.copy()
    got[0, 0] += 3e-8
    assert compared(got, values).ratio > 10
    plain[0, 0] -= 2e-8
    assert compared(got, values, eager=plain).ratio < 0.5


@pytest.mark.parametrize("bad", [1e6, np.nan, np.inf])
def test_a_reference_that_computes_badly_on_purpose_gains_little(bad: float) -> None:
    values = oracle()
    got = values + 1e-3
    assert compared(got, values, eager=values + bad).ratio > 10


def test_an_exact_zero_is_compared_exactly() -> None:
    zeros = np.zeros(SHAPE)
    assert ratio(zeros, zeros) == 0.0
    assert ratio(zeros + 1e-12, zeros) > 1


def test_every_required_dtype_has_a_factor() -> None:
    assert {"float32", "bfloat16", "float16"} <= set(FACTOR)


def test_a_gradient_that_cancels_everywhere_is_held_to_the_size_of_its_terms() -> None:
    exact = np.full((1, 35, 1, 1), 1e-9)
    generator = np.random.default_rng(2)
    got, plain = (exact + 5e-8 * generator.standard_normal(exact.shape) for _ in range(2))
    assert compared(got, exact, eager=plain).ratio > 10
    assert compared(got, exact, eager=plain, terms=1.0).ratio < 0.5
    assert compared(got + 1e-3, exact, eager=plain, terms=1.0).ratio > 100


def test_the_terms_of_a_linear_gradient_have_its_size() -> None:
    weights, x, cotangent = (np.random.default_rng(seed).standard_normal(500) for seed in range(3))
    size = gradient_terms([(weights * x, cotangent)], x)
    assert 0.3 < size / np.sqrt(np.mean((weights * cotangent) ** 2)) < 30


@pytest.mark.parametrize(
    "shape",
    [(5,), (3, 40), (2, 70, 3), (2, 40, 2, 16), (2, 7, 2, 100), (1, 130, 2, 3, 5), (1, 1, 1, 1)],
    ids=str,
)
def test_the_tolerance_map_is_what_an_error_is_compared_with(shape: tuple[int, ...]) -> None:
    """An error that is a fixed share of the map everywhere is that share of the tolerance."""
    generator = np.random.default_rng(3)
    rows = 10.0 ** generator.integers(-3, 3, shape[:1])  # scales that differ from row to row
    values = generator.standard_normal(shape) * rows.reshape(-1, *[1] * (len(shape) - 1))
    single = values.astype(np.float32).astype(np.float64)
    truth = Truth(oracle=values, perturbed=perturbed(values, 6e-8), eager=single)
    allowed = tolerance_map(truth, run_dtype="float32", result_dtype="float32")
    assert allowed.shape == shape
    assert (allowed > 0.0).all()
    signs = generator.choice([-1.0, 1.0], shape)
    found = compare(values + 3.0 * signs * allowed, truth, run_dtype="float32", result_dtype="float32")
    assert found.ratio == pytest.approx(3.0, rel=0.3), "windows say 3, the whole tensor nearly so"
    assert found.ratio >= 3.0 * (1.0 - 1e-9)


def test_a_narrow_result_reaches_a_wide_tensor_as_one_inner_product() -> None:
    """What a softmax over one key takes off again: <v, cotangent> k / sqrt(K) of 3 values, 100 features."""
    generator = np.random.default_rng(4)
    q, k = generator.standard_normal((2, 50, 100))
    v, cotangent = generator.standard_normal((2, 50, 3))
    term = (v * cotangent).sum(-1, keepdims=True) * k / 10.0
    assert 0.5 < gradient_terms([(v, cotangent)], q) / np.sqrt(np.mean(term**2)) < 2.0
