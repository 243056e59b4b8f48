from __future__ import annotations

import pytest

from harness.compose.composition import parse
from harness.compose.limits import Limits, anything, within
from harness.compose.shape import ModelShape
from harness.errors import WrongUsage

SHAPE = ModelShape(d_model=32, heads=2, kv_heads=2, head_dim=16, ffn=64, vocab=16, ssm_head_dim=32)


class Attention:
    def parameters(self, shape: ModelShape) -> int:
        return 4 * shape.d_model**2

    def state_bytes(self, shape: ModelShape, length: int, *, bytes_per_value: int = 2) -> int:
        return 2 * length * shape.d_model * bytes_per_value

    def flops(self, shape: ModelShape, length: int) -> int:
        return 2 * length * self.parameters(shape) + 4 * length**2 * shape.d_model


class Mlp:
    def parameters(self, shape: ModelShape) -> int:
        return 3 * shape.d_model * shape.ffn

    def state_bytes(self, shape: ModelShape, length: int, *, bytes_per_value: int = 2) -> int:
        return 0

    def flops(self, shape: ModelShape, length: int) -> int:
        return 2 * length * self.parameters(shape)


PRIMITIVES = {"mA": Attention(), "M": Mlp()}


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (Limits(parameters=2 * 4096 + 6144), None),
        (Limits(parameters=2 * 4096 + 6143), "parameters: expected at most 14335, got 14336"),
        (Limits(state_bytes=2 * 128 * 64, length=64), None),
        (Limits(state_bytes=2 * 128 * 64 - 1, length=64), "state_bytes: expected at most 16383, got 16384"),
        (Limits(flops=1, length=8), "flops: expected at most 1, got 245760"),
        (Limits(), None),
    ],
)
def test_a_limit_holds_for_the_sum_over_layers(limits: Limits, said: str | None) -> None:
    assert within(limits, PRIMITIVES, SHAPE)(parse("mA M mA")) == said


def test_no_limits_refuse_nothing() -> None:
    assert anything(parse("mA mA")) is None


def test_a_limit_of_nothing_is_refused() -> None:
    with pytest.raises(WrongUsage, match="parameters"):
        Limits(parameters=0)
