"""Other roundings move what was rounded, by as much as a device may, and nothing else."""

from __future__ import annotations

import numpy as np

from verify.triton_cpu.interpreter.rounding import Loose


def draw(count: int) -> np.ndarray:
    return np.random.Generator(np.random.Philox(3)).standard_normal((1, count)).astype(np.float32)


def test_a_product_is_one_of_the_two_neighbours_of_its_exact_value_and_both_occur() -> None:
    x, y = draw(500), draw(1000)[:, 500:]
    exact = x.astype(np.float64) * y
    moved = Loose(1).product(x * y, exact, None)
    assert (np.abs(moved - exact) < np.spacing(np.abs(x * y))).all()
    assert 0.3 < float((moved != x * y).mean()) < 0.7


def test_an_approximation_is_at_most_two_units_off_and_all_of_them_occur() -> None:
    x = draw(500)
    data = np.exp(x)
    moved = Loose(1).approximated(data, np.exp(x.astype(np.float64)), None)
    assert set(moved.view(np.int32).ravel() - data.view(np.int32).ravel()) == {-2, -1, 0, 1, 2}


def test_an_exponential_is_as_far_off_as_its_argument_is_large_and_exact_at_zero() -> None:
    near, far = np.full((1, 400), -0.5, np.float32), np.full((1, 400), -30.3, np.float32)
    off = [np.abs(units_off(Loose(1).exponential(x, None), x)) for x in (near, far)]
    assert off[0].max() <= 4
    assert off[1].min() > 4  # the exact value itself is never met
    assert off[1].max() <= 24
    exact = np.array([[0.0, -np.inf, np.inf, 200.0, -200.0, np.nan]], np.float32)
    expected = np.array([[1.0, 0.0, np.inf, np.inf, 0.0, np.nan]], np.float32)
    assert np.array_equal(Loose(1).exponential(exact, None), expected, equal_nan=True)


def units_off(data: np.ndarray, arg: np.ndarray) -> np.ndarray:
    right = np.exp(arg.astype(np.float64)).astype(np.float32)
    return data.view(np.int32) - right.view(np.int32)


def test_what_is_exact_zero_or_no_number_stays() -> None:
    x = np.array([[0.0, -0.0, 1.5, 3.0, np.inf, -np.inf, np.nan, 1e-44]], np.float32)
    twice = x.astype(np.float64) * 2.0
    for move in (Loose(1).product, Loose(1).approximated):
        assert np.array_equal(move(x * np.float32(2), twice, None), x * np.float32(2), equal_nan=True)


def test_the_same_operation_a_second_time_is_rounded_anew_and_a_seed_repeats_it() -> None:
    x = draw(200)
    exact, loose, again = x.astype(np.float64) * x, Loose(1), Loose(1)
    first, second = loose.product(x * x, exact, None), loose.product(x * x, exact, None)
    assert (first != second).any()
    assert np.array_equal(first, again.product(x * x, exact, None))
