"""`M`: SwiGLU (arXiv 2002.05202), or two matrices with a GELU between them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from harness.compose.composition import MLP
from harness.compose.shape import ModelShape


class SwiGLU(nn.Module):
    """(B, T, d_model) -> (B, T, d_model): out(silu(gate) * up). `up_gate` holds the gate first, then up."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.up_gate = nn.Linear(shape.d_model, 2 * shape.ffn, bias=False)
        self.out = nn.Linear(shape.ffn, shape.d_model, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate, up = self.up_gate(x).chunk(2, -1)
        return self.out(F.silu(gate) * up)


class GeluMLP(nn.Module):
    """(B, T, d_model) -> (B, T, d_model): out(gelu(up(x))), without biases."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.up = nn.Linear(shape.d_model, shape.ffn, bias=False)
        self.out = nn.Linear(shape.ffn, shape.d_model, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(F.gelu(self.up(x)))


@dataclass(frozen=True, kw_only=True)
class MLPPrimitive:
    """The primitive `M`; the shape's `mlp` says which of the two."""

    token: str = MLP
    identity: str = "M/1"
    causal: bool = True
    needs_measured: bool = False

    def build(self, shape: ModelShape) -> nn.Module:
        return SwiGLU(shape) if shape.mlp == "swiglu" else GeluMLP(shape)

    def parameters(self, shape: ModelShape) -> int:
        return (3 if shape.mlp == "swiglu" else 2) * shape.d_model * shape.ffn

    def state_bytes(self, shape: ModelShape, length: int, *, bytes_per_value: int = 2) -> int:  # noqa: ARG002  the contract's arguments
        """Nothing: tokens do not meet."""
        return 0

    def flops(self, shape: ModelShape, length: int) -> int:
        """Of the matrices."""
        return 2 * length * self.parameters(shape)
