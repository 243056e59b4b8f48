from __future__ import annotations

import pytest

from harness.compose.composition import parse
from harness.compose.counts import parameters
from harness.compose.primitives.alphabet import built_in
from harness.compose.sizes import SIZES, TOLERANCE, solve
from harness.errors import WrongUsage

KINDS = (
    "mA M " * 16,
    "Mb M " * 16,
    "mA Mb " * 16,
    "mA " * 32,
    "Mb " * 32,
    "M " * 31 + "mA",
    "mA M Mb M " * 8,
)


@pytest.mark.parametrize("text", KINDS, ids=lambda text: parse(text).run_length()[:20])
@pytest.mark.parametrize("size", SIZES.values(), ids=lambda size: size.name)
def test_a_shape_is_within_three_per_cent_and_fits_kernels(text, size):
    shape = solve(parse(text), built_in(), size.parameters)
    assert abs(parameters(parse(text), built_in(), shape) / size.parameters - 1) <= TOLERANCE
    assert shape.head_dim in (64, 128)
    assert (shape.d_model % 64, shape.ffn % 128) == (0, 0)
    assert shape.heads == 4 * shape.kv_heads


def test_the_ratio_of_an_mlp_is_near_four():
    shape = solve(parse("mA M " * 16), built_in(), 1_000_000_000)
    assert 3.5 <= shape.ffn / shape.d_model <= 4.5


def test_too_many_layers_are_refused_with_the_nearest_count():
    with pytest.raises(WrongUsage, match=r"within 3 % of 1,000,000 parameters, got"):
        solve(parse("mA M " * 100), built_in(), 1_000_000)
