"""From hidden states to answers: the model's own head, or MAD's decoder behind the last state."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from harness.compose.model import ComposedModel
from harness.compose.proxies.fused import fused_hidden


class LastStateDecoder(nn.Module):
    """MAD's auto-encoder behind a model: the last hidden state tells every token of the sequence.

    For position t: hidden[last] + sine code of t, then two times (norm, linear, GELU) of the model's width,
    then the model's head. Width and depth are the same for every composition. The code of positions is that
    of arXiv 1706.03762, halves of sines and cosines.
    """

    def __init__(self, d_model: int, length: int, eps: float) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.RMSNorm(d_model, eps=eps) for _ in range(3))
        self.linears = nn.ModuleList(nn.Linear(d_model, d_model) for _ in range(2))
        self.register_buffer("code", sine_code(length, d_model), persistent=False)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """(B, T, d_model) -> (B, T, d_model), what the head reads."""
        x = hidden[:, -1:] + self.code
        for norm, linear in zip(self.norms[:2], self.linears, strict=True):
            x = F.gelu(linear(norm(x)))
        return self.norms[2](x)


class ProxyModel(nn.Module):
    """A composed model, and how its answers are read where something is asked."""

    def __init__(self, model: ComposedModel, decoder: LastStateDecoder | None, *, fused: bool = True) -> None:
        """`fused` takes the layers of `fused.py` (float32), else the model's own."""
        super().__init__()
        self.model, self.decoder, self.fused = model, decoder, fused

    def answers(self, ids: torch.Tensor, scored: torch.Tensor) -> torch.Tensor:
        """`ids` (B, T), `scored` int64 (S,), positions in the flattened batch -> logits (S, vocab) there."""
        hidden = fused_hidden(self.model, ids) if self.fused else self.model.hidden(ids)
        if self.decoder is not None:
            hidden = self.decoder(hidden)
        return self.model.logits(hidden.flatten(0, 1).index_select(0, scored))


def sine_code(length: int, features: int) -> torch.Tensor:
    """(length, features), float32: sines, then cosines, of wavelengths from 2 pi to 10,000 x 2 pi positions.

    With an odd number of features the last cosine is left out.
    """
    half = (features + 1) // 2
    rates = torch.exp(torch.arange(half, dtype=torch.float32) * (-math.log(10_000.0) / max(1, half - 1)))
    angles = torch.arange(length, dtype=torch.float32)[:, None] * rates
    return torch.cat((angles.sin(), angles.cos()), -1)[:, :features].contiguous()
