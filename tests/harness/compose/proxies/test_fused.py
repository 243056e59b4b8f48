from __future__ import annotations

import pytest
import torch

from harness.compose.composition import parse
from harness.compose.model import ComposedModel
from harness.compose.primitives.alphabet import built_in
from harness.compose.proxies.fused import fused_hidden
from harness.compose.shape import ModelShape

SHAPE = ModelShape(d_model=12, heads=2, kv_heads=2, head_dim=6, ffn=10, vocab=9, ssm_head_dim=6, ssm_state=4)


def model(text: str, **changes: object) -> ComposedModel:
    made = ComposedModel(parse(text), built_in(), SHAPE.with_(**changes), seed=1).double()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return made


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("mA", {}),
        ("M", {}),
        ("mA M Mb mA M", {}),
        ("mA M", {"kv_heads": 1}),
        ("mA M", {"mlp": "gelu"}),
        ("mA mA", {"rope_theta": 30.0, "norm_eps": 0.1}),
    ],
)
@pytest.mark.parametrize("length", [1, 7])
def test_values_and_gradients_are_those_of_the_model(text: str, changes: dict, length: int) -> None:
    made = model(text, **changes)
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(0, 9, (3, length), generator=generator)
    weight = torch.randn(3, length, 12, generator=generator, dtype=torch.float64)
    results = []
    for hidden in (made.hidden(ids), fused_hidden(made, ids)):
        gradients = torch.autograd.grad((hidden * weight).sum(), list(made.parameters()), allow_unused=True)
        results.append([hidden, *(g for g in gradients if g is not None)])
    assert len(results[0]) == len(results[1])
    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-11)


def test_float32_stays_within_rounding_of_the_model() -> None:
    made = model("mA M mA M").float()
    ids = torch.randint(0, 9, (4, 16), generator=torch.Generator().manual_seed(4))
    torch.testing.assert_close(fused_hidden(made, ids), made.hidden(ids), rtol=1e-4, atol=1e-5)
