from __future__ import annotations

import numpy as np
import pytest

from harness.agents.grammar.growth import change, draw
from harness.agents.grammar.printing import triton_body
from harness.agents.grammar.productions import KEY_NORMS
from harness.agents.grammar.rows import (
    Row,
    describe_row,
    row_from_json,
    row_to_json,
    torch_row_body,
    triton_row_body,
    triton_row_grad_body,
)
from harness.agents.grammar.trees import X, apply
from harness.agents.grammar.weights import Weights
from harness.chance import generator
from tests.harness.agents.grammar.tile_language import TL, run_body

torch = pytest.importorskip("torch")


def vanishes_at_zero(row: Row) -> bool:
    """Whether padding (zero) adds nothing to the statistic, which is all a tile asks of the inner tree."""
    return bool(float(run_body(f"return {_inner(row)}", {"x": np.zeros(1)}, {"tl": TL})[0]) == 0.0)


def _inner(row: Row) -> str:
    return triton_body(row.inner).splitlines()[-1].removeprefix("return ")


def drawn_rows() -> list[Row]:
    rows: list[Row] = []
    for n in range(40):
        rng, weights = generator(5, "row", n), Weights()
        content = change(rng, weights, "key_norm", draw(rng, weights, "key_norm"))
        assert isinstance(content, Row)
        rows.append(content)
    return rows


def finite_at_zero(row: Row) -> bool:
    padded = np.zeros((1, 4))
    return bool(np.isfinite(run_body(triton_row_body(row), {"x": padded}, {"tl": TL})).all())


def padded_tile(rows: int, columns: int, block: int, *, ties: bool) -> np.ndarray:
    values = np.random.default_rng(2).normal(size=(rows, columns))
    if ties:
        values = np.rint(2.0 * values) / 2.0
    tile = np.zeros((rows, block))
    tile[:, :columns] = values
    return tile


def check(row: Row, columns: int, *, ties: bool = False) -> None:
    tile = padded_tile(5, columns, 16, ties=ties)
    d_tile = padded_tile(5, columns, 16, ties=False)[::-1].copy()
    x = torch.tensor(tile[:, :columns], dtype=torch.float64, requires_grad=True)
    y = run_body(torch_row_body(row), {"x": x}, {"torch": torch})
    (slope,) = torch.autograd.grad(y, x, torch.tensor(d_tile[:, :columns]))
    printed = run_body(triton_row_body(row), {"x": tile}, {"tl": TL})[:, :columns]
    d_printed = run_body(triton_row_grad_body(row), {"x": tile, "dy": d_tile}, {"tl": TL})[:, :columns]
    np.testing.assert_allclose(printed, y.detach().numpy(), rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(d_printed, slope.numpy(), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("columns", [1, 3, 7, 16])
@pytest.mark.parametrize("name", KEY_NORMS)
def test_well_known_norms_agree_in_value_and_gradient(name: str, columns: int) -> None:
    check(KEY_NORMS[name], columns)


@pytest.mark.parametrize("name", ["peak", "softpeak"])
def test_the_largest_shares_its_gradient_among_ties(name: str) -> None:
    check(KEY_NORMS[name], 12, ties=True)


def test_drawn_rows_agree_without_padding() -> None:
    checked = 0
    for row in drawn_rows():
        if finite_at_zero(row) and "log1p" not in describe_row(row):
            check(row, 16)
            checked += 1
    assert checked >= 20


def test_a_row_whose_padding_counts_is_drawn_and_wrong() -> None:
    row = Row(statistic="sum", inner=apply("exp", X), outer=KEY_NORMS["l1"].outer)
    assert not vanishes_at_zero(row)
    with pytest.raises(AssertionError):
        check(row, 7)


@pytest.mark.parametrize("row", [*KEY_NORMS.values(), *drawn_rows()], ids=describe_row)
def test_json_keeps_the_row(row: Row) -> None:
    assert row_from_json(row_to_json(row)) == row


@pytest.mark.parametrize("data", ["x", ["mean", "x", "x"], ["sum", "x"], ["sum", {}, "x"]])
def test_json_that_is_no_row_is_refused(data: object) -> None:
    with pytest.raises(ValueError, match="expected"):
        row_from_json(data)  # type: ignore[arg-type]
