"""What every primitive says of itself, and what a layer of a model must be."""

from __future__ import annotations

from typing import Protocol

from torch import nn

from harness.compose.shape import ModelShape


class Primitive(Protocol):
    """One letter of the alphabet.

    A layer that it builds maps x (B, T, d_model) to (B, T, d_model); norm and residual are the model's. Its
    last matrix is a Linear called `out` or `out_proj`. Counts are per layer, norm before it left out.
    """

    @property
    def token(self) -> str:
        """Its name in a composition: `mA`, `M`, `Mb`, or the id of a mechanism."""

    @property
    def identity(self) -> str:
        """What results hang on: goes into cache keys. A mechanism's is its source hash."""

    @property
    def causal(self) -> bool:
        """Whether position t never sees positions after t."""

    @property
    def needs_measured(self) -> bool:
        """Whether a device has yet to time it: until then, models above 100M parameters may be counted with
        it, and not made.
        """

    def build(self, shape: ModelShape) -> nn.Module:
        """The layer, initialised from PyTorch's current generator.

        Raises ValueError for sizes it cannot have.
        """

    def parameters(self, shape: ModelShape) -> int:
        """How many learned numbers the layer has."""

    def state_bytes(self, shape: ModelShape, length: int, *, bytes_per_value: int = 2) -> int:
        """What one sequence keeps to go on after `length` tokens: a KV cache, a recurrent state, nothing."""

    def flops(self, shape: ModelShape, length: int) -> int:
        """Of the forward pass over one sequence of `length` tokens, as its PyTorch form computes it: products
        of matrices with both triangles of a causal mask, a multiply and an add being two.
        """
