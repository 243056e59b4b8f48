"""`mA`: causal grouped-query attention (arXiv 2305.13245) with rotary positions, as in Llama."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from harness.compose.composition import ATTENTION
from harness.compose.primitives.rope import rotate
from harness.compose.shape import ModelShape


class Attention(nn.Module):
    """(B, T, d_model) -> (B, T, d_model). `qkv` holds queries, keys, values in this order, by heads."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        if shape.head_dim % 2:
            raise ValueError(f"head_dim: expected an even number for rotary positions, got {shape.head_dim}")
        self.heads, self.kv_heads, self.head_dim = shape.heads, shape.kv_heads, shape.head_dim
        self.theta = shape.rope_theta
        self.qkv = nn.Linear(shape.d_model, (shape.heads + 2 * shape.kv_heads) * shape.head_dim, bias=False)
        self.out = nn.Linear(shape.heads * shape.head_dim, shape.d_model, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        qkv = self.qkv(x).unflatten(-1, (-1, self.head_dim))
        qk, v = qkv.split((self.heads + self.kv_heads, self.kv_heads), 2)
        q, k = rotate(qk, self.theta).split((self.heads, self.kv_heads), 2)
        mixed = F.scaled_dot_product_attention(
            q.transpose(1, 2),
            k.transpose(1, 2),
            v.transpose(1, 2),
            is_causal=True,
            enable_gqa=self.heads != self.kv_heads,
        )
        return self.out(mixed.transpose(1, 2).flatten(2))


@dataclass(frozen=True, kw_only=True)
class AttentionPrimitive:
    """The primitive `mA`."""

    token: str = ATTENTION
    identity: str = "mA/1"
    causal: bool = True
    needs_measured: bool = False

    def build(self, shape: ModelShape) -> nn.Module:
        return Attention(shape)

    def parameters(self, shape: ModelShape) -> int:
        return 2 * shape.d_model * shape.head_dim * (shape.heads + shape.kv_heads)

    def state_bytes(self, shape: ModelShape, length: int, *, bytes_per_value: int = 2) -> int:
        """Keys and values of every token."""
        return 2 * length * shape.kv_heads * shape.head_dim * bytes_per_value

    def flops(self, shape: ModelShape, length: int) -> int:
        """Projections, and the products of scores and of values."""
        return 2 * length * self.parameters(shape) + 4 * length**2 * shape.heads * shape.head_dim
