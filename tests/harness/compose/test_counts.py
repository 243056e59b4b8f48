from __future__ import annotations

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from harness.compose.composition import parse
from harness.compose.counts import count, parameters
from harness.compose.model import ComposedModel
from harness.compose.primitives.alphabet import built_in
from harness.compose.shape import ModelShape

SHAPE = ModelShape(
    d_model=48, heads=6, kv_heads=2, head_dim=8, ffn=80, vocab=31, ssm_state=8, ssm_head_dim=16, ssm_groups=2
)
EVERYTHING = "mA M Mb M mA"


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("mlp", ["swiglu", "gelu"])
def test_parameters_are_those_of_the_built_model(tied, mlp):
    shape = SHAPE.with_(tied=tied, mlp=mlp)
    model = ComposedModel(parse(EVERYTHING), built_in(), shape)
    built = sum(weight.numel() for weight in model.parameters())
    assert parameters(parse(EVERYTHING), built_in(), shape) == built


@pytest.mark.parametrize("length", [1, 63, 64, 65, 200])
@pytest.mark.parametrize("text", ["mA", "M", "Mb", EVERYTHING])
def test_flops_are_those_of_the_products_that_run(text, length):
    model = ComposedModel(parse(text), built_in(), SHAPE)
    # PyTorch does not count its fused attention of a CPU, and does count the products that it stands for.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, length, dtype=torch.long))
    mixed = 2 * SHAPE.d_model + 2 * SHAPE.ssm_groups * SHAPE.ssm_state
    convolved = parse(text).counts()["Mb"] * 2 * length * mixed * SHAPE.ssm_conv  # elementwise on a CPU
    counted = count(parse(text), built_in(), SHAPE, length=length)
    assert round(counted.flops_per_token * length) == counter.get_total_flops() + convolved


def test_only_attention_keeps_more_for_a_longer_sequence():
    def state(text: str, length: int) -> int:
        return count(parse(text), built_in(), SHAPE, length=length).state_bytes

    assert state("mA", 200) == 2 * state("mA", 100) == 2 * 200 * 2 * 8 * 2
    assert state("Mb", 200) == state("Mb", 100) > 0
    assert state("M", 200) == 0
