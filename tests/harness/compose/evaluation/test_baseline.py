from __future__ import annotations

import pytest

from harness.compose.composition import alternating, parse
from harness.compose.counts import parameters
from harness.compose.evaluation.baseline import TOLERANCE, equal_shape
from harness.compose.primitives.alphabet import built_in
from harness.compose.shape import ModelShape
from harness.errors import HarnessError

SHAPE = ModelShape(
    d_model=64, heads=2, kv_heads=2, head_dim=32, ffn=168, vocab=257, ssm_state=16, ssm_head_dim=32
)


@pytest.mark.parametrize("text", ["8mA", "4mA+4M", "M mA M M M M mA M", "mA M M"])
def test_the_baseline_is_as_deep_and_within_three_percent(text: str) -> None:
    composition = parse(text)
    target = parameters(composition, built_in(), SHAPE)
    baseline = alternating(len(composition))
    shape = equal_shape(baseline, built_in(), SHAPE, target)
    assert len(baseline) == len(composition)
    assert abs(parameters(baseline, built_in(), shape) - target) <= TOLERANCE * target
    assert shape.with_(ffn=SHAPE.ffn) == SHAPE


def test_it_alternates_attention_and_mlp() -> None:
    assert str(alternating(5)) == "mA M mA M mA"


def test_the_same_composition_keeps_its_shape() -> None:
    composition = alternating(6)
    assert equal_shape(composition, built_in(), SHAPE, parameters(composition, built_in(), SHAPE)) == SHAPE


@pytest.mark.parametrize("text", ["mA", "mA M"])
def test_a_size_out_of_reach_is_refused(text: str) -> None:
    with pytest.raises(HarnessError, match=r"within 3% of 1,000 parameters.*Change d_model"):
        equal_shape(parse(text), built_in(), SHAPE, 1000)
