from __future__ import annotations

import math

import pytest
import torch

from harness.compose.primitives.attention import Attention, AttentionPrimitive
from harness.compose.primitives.rope import rotate
from harness.compose.shape import ModelShape

SHAPE = ModelShape(d_model=24, heads=4, kv_heads=2, head_dim=6, ffn=8, vocab=8, ssm_head_dim=8)


@pytest.mark.parametrize("length", [1, 17, 64])
def test_it_equals_softmax_over_earlier_tokens_head_by_head(length):
    torch.manual_seed(0)
    layer, x = Attention(SHAPE), torch.randn(2, length, 24)
    q, k, v = layer.qkv(x).unflatten(-1, (-1, 6)).split((4, 2, 2), 2)
    q, k = rotate(q, SHAPE.rope_theta), rotate(k, SHAPE.rope_theta)
    heads = []
    for head in range(4):
        scores = q[:, :, head] @ k[:, :, head // 2].transpose(1, 2) / math.sqrt(6)
        weights = scores.masked_fill(torch.ones(length, length).triu(1).bool(), -math.inf).softmax(-1)
        heads.append(weights @ v[:, :, head // 2])
    torch.testing.assert_close(layer(x), layer.out(torch.cat(heads, -1)), rtol=1e-4, atol=1e-5)


def test_odd_heads_are_refused_because_positions_turn_pairs():
    with pytest.raises(ValueError, match="even number"):
        AttentionPrimitive().build(SHAPE.with_(head_dim=5))
