"""A few programs stand for a grid: which ones, with which weights, and what they are exact for."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from verify.triton_cpu.counting.sampling import Axis, digits_of, draw_sample

SEEDS = range(4)


def digits(number: int, axes: list[Axis]) -> list[int]:
    """The digits of a program number, as the axes name them."""
    found: list[int] = []
    for axis in axes:
        size = math.prod(axis)
        index, number = number % size, number // size
        row = []
        for part in reversed(axis):
            row.append(index % part)
            index //= part
        found += reversed(row)
    return found


def error(axes: list[Axis], cost: Callable[..., float], seed: int, count: int = 24) -> float:
    """Estimated over true cost of the grid, less 1."""
    total = math.prod(size for axis in axes for size in axis)
    sample = draw_sample(axes, count, seed)
    assert len(sample.numbers) <= count
    true = math.fsum(cost(*digits(number, axes)) for number in range(total))
    pairs = zip(sample.numbers, sample.weights, strict=True)
    return math.fsum(weight * cost(*digits(number, axes)) for number, weight in pairs) / true - 1.0


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("axes", "cost"),
    [
        ([(64,), (16,)], lambda tile, head: tile + 1),  # causal
        ([(16,), (64,)], lambda head, tile: tile + 1),
        ([(64, 4, 16)], lambda tile, batch, head: 64 - tile),  # causal, on one axis, from the other end
        ([(8, 16)], lambda head, chunk: 0.3 if chunk == 15 else 1.0),  # a ragged last chunk
        ([(17,), (6,)], lambda tile, head: (tile + 1) * (0.4 if tile == 16 else 1.0)),
        ([(40,), (3,), (5,)], lambda x, y, z: 2.0 * x + (y == 0) + 7.0 * z * z),
        ([(200, 32)], lambda chunk, head: 1.0),
    ],
)
def test_costs_that_are_sums_over_axes_are_exact(
    axes: list[Axis], cost: Callable[..., float], seed: int
) -> None:
    assert abs(error(axes, cost, seed)) < 1e-9


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("axes", "cost"),
    [
        ([(13,), (9,)], lambda m, n: (0.2 if m == 12 else 1.0) * (0.3 if n == 8 else 1.0)),  # ragged edges
        ([(128,), (16,)], lambda tile, head: (tile + 3) // 2),  # query tiles half as long as key tiles
        ([(128, 16)], lambda tile, head: min(tile + 1, 65)),  # a window
    ],
)
def test_other_costs_are_within_two_percent(axes: list[Axis], cost: Callable[..., float], seed: int) -> None:
    assert abs(error(axes, cost, seed)) < 0.02


def test_a_small_grid_is_run_whole() -> None:
    sample = draw_sample([(3,), (4,), (4,)], 24, 0)
    assert sample.complete
    assert sample.numbers == tuple(range(48))
    assert set(sample.weights) == {1.0}


@pytest.mark.parametrize("axes", [[(1 << 20,)], [(500, 64), (7,)], [(49,)], [(4,), (4,), (4,)]])
def test_a_sample_is_a_function_of_its_arguments_and_holds_both_ends(axes: list[Axis]) -> None:
    total = math.prod(size for axis in axes for size in axis)
    sample = draw_sample(axes, 24, 5)
    assert sample == draw_sample(axes, 24, 5)
    assert sample != draw_sample(axes, 24, 6)
    assert sample.numbers[0] == 0
    assert sample.numbers[-1] == total - 1
    assert math.isclose(sum(sample.weights), total)
    assert min(sample.weights) >= 0.0


def test_every_stratum_of_every_axis_is_met() -> None:
    axes: list[Axis] = [(142,), (82,)]
    inner = [digits(number, axes) for number in draw_sample(axes, 24, 1).numbers]
    for axis, size in enumerate((142, 82)):
        strata = {(point[axis] - 1) * 20 // (size - 2) for point in inner if 0 < point[axis] < size - 1}
        assert strata == set(range(20))


@pytest.mark.parametrize(
    ("size", "rows", "want"),
    [
        (8192, {64, 16}, (128, 4, 16)),
        (8192, {64, 48}, (128, 64)),  # 48 does not cut it evenly
        (60, {7, 60, 1}, (60,)),
        (1, set(), (1,)),
    ],
)
def test_an_axis_is_cut_where_rows_are_even(size: int, rows: set[int], want: Axis) -> None:
    assert digits_of(size, rows) == want


def test_no_grid_and_too_few_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="expected a grid with programs"):
        draw_sample([(0,)], 24, 0)
    with pytest.raises(ValueError, match="at least 8 samples"):
        draw_sample([(100,)], 4, 0)
