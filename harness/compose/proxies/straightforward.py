"""The proxies' first version, kept to measure against: the same training, written as in a textbook.

Separate projections, norms and attention out of elementary operations, logits at every position, AdamW as
PyTorch gives it, one tensor at a time. It takes the weights of a composed model of `mA` and `M`, so the
losses of both are equal up to rounding, and their times compare the same work.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from harness.compose.model import ComposedModel
from harness.compose.primitives.attention import Attention
from harness.compose.primitives.mlp import SwiGLU
from harness.compose.primitives.rope import rotate
from harness.compose.proxies.optimizer import Recipe


class _Norm(nn.Module):
    def __init__(self, weight: torch.Tensor, eps: float) -> None:
        super().__init__()
        self.weight, self.eps = nn.Parameter(weight.detach().clone()), eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x / torch.sqrt(x.square().mean(-1, keepdim=True) + self.eps) * self.weight


class _Attention(nn.Module):
    def __init__(self, mixer: Attention) -> None:
        super().__init__()
        parts = mixer.qkv.weight.detach().chunk(3)
        self.q, self.k, self.v, self.out = (_linear(part) for part in (*parts, mixer.out.weight))
        self.heads, self.theta = mixer.heads, mixer.theta

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        split = [linear(x).unflatten(-1, (self.heads, -1)) for linear in (self.q, self.k, self.v)]
        q, k = (rotate(part, self.theta).transpose(1, 2) for part in split[:2])
        scores = q @ k.transpose(2, 3) / q.shape[-1] ** 0.5
        later = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
        weights = scores.masked_fill(later, float("-inf")).softmax(-1)
        return self.out((weights @ split[2].transpose(1, 2)).transpose(1, 2).flatten(2))


class _MLP(nn.Module):
    def __init__(self, mixer: SwiGLU) -> None:
        super().__init__()
        gate, up = mixer.up_gate.weight.detach().chunk(2)
        self.gate, self.up, self.out = (_linear(part) for part in (gate, up, mixer.out.weight))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(F.silu(self.gate(x)) * self.up(x))


class StraightforwardModel(nn.Module):
    """Token ids (B, T) -> logits (B, T, vocab), with the weights of `model` (layers `mA` and `M` only)."""

    def __init__(self, model: ComposedModel) -> None:
        super().__init__()
        eps = model.norm.eps
        self.embedding = nn.Embedding.from_pretrained(model.embedding.weight.detach().clone(), freeze=False)
        self.norms = nn.ModuleList(_Norm(layer.norm.weight, eps) for layer in model.layers)
        self.mixers = nn.ModuleList(
            _Attention(layer.mixer) if isinstance(layer.mixer, Attention) else _MLP(layer.mixer)
            for layer in model.layers
        )
        self.norm = _Norm(model.norm.weight, eps)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.embedding(ids)
        for norm, mixer in zip(self.norms, self.mixers, strict=True):
            x = x + mixer(norm(x))
        return self.norm(x) @ self.embedding.weight.t()


class StraightforwardTraining:
    """Its training: a step is `step(number, ids, targets)`, targets (B, T) with IGNORE where not asked."""

    def __init__(self, model: StraightforwardModel, recipe: Recipe) -> None:
        self.model, self.recipe = model, recipe
        matrices = [p for p in model.parameters() if p.dim() >= 2]
        rest = [p for p in model.parameters() if p.dim() < 2]
        self.optimizer = torch.optim.AdamW(
            [{"params": matrices}, {"params": rest, "weight_decay": 0.0}],
            betas=recipe.betas,
            weight_decay=recipe.decay,
        )

    def step(self, number: int, ids: torch.Tensor, targets: torch.Tensor) -> float:
        """One step; the loss before it, nats."""
        loss = F.cross_entropy(self.model(ids).flatten(0, 1), targets.flatten())
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip)
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.rate(number)
        self.optimizer.step()
        return float(loss.detach())


def _linear(weight: torch.Tensor) -> nn.Linear:
    made = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    made.weight = nn.Parameter(weight.detach().clone())
    return made
