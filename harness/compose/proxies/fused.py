"""The layers of a composed model with their norm and residual, each as one differentiable function.

At the widths of proxies a step's time is spent between operations, not in them: PyTorch's RMSNorm alone is
eight operations forward and some fifteen backward on a CPU. Here gain and norm are folded into the matrix
that follows, intermediate results are laid out for the next product, and backward is written by hand, which
takes a third of the operations. Values and gradients are those of `ResidualLayer` up to rounding; a layer of
another kind keeps its own mixer and gets the norm from here.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

from harness.compose.model import ComposedModel, ResidualLayer
from harness.compose.primitives.attention import Attention
from harness.compose.primitives.mlp import SwiGLU
from harness.compose.primitives.rope import rope_table

Gradients = tuple[torch.Tensor | None, ...]


def fused_hidden(model: ComposedModel, ids: torch.Tensor) -> torch.Tensor:
    """What `model.hidden` computes: `ids` (B, T) int64 -> (B, T, d_model)."""
    x = model.embedding(ids)
    for layer in model.layers:
        x = _layer(layer, x)
    return fused_rms_norm(x, model.norm.weight, model.norm.eps)


def fused_rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    """RMSNorm (arXiv 1910.07467) of x (..., d_model)."""
    return _RMSNorm.apply(x, weight, eps)


def _layer(layer: ResidualLayer, x: torch.Tensor) -> torch.Tensor:
    norm, mixer = layer.norm, layer.mixer
    if type(mixer) is SwiGLU:
        return _SwiGLU.apply(x, norm.weight, mixer.up_gate.weight, mixer.out.weight, norm.eps)
    if type(mixer) is Attention and mixer.heads == mixer.kv_heads:
        heads = _Heads(mixer.heads, mixer.head_dim, mixer.theta)
        return _Attention.apply(x, norm.weight, mixer.qkv.weight, mixer.out.weight, norm.eps, heads)
    return x + mixer(fused_rms_norm(x, norm.weight, norm.eps))


class _Heads(NamedTuple):
    number: int
    features: int
    theta: float


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
        normed, scale = _normed(x.flatten(0, -2), eps)
        ctx.save_for_backward(normed, scale, weight)
        return (normed * weight).view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Gradients:
        normed, scale, weight = ctx.saved_tensors
        flat = grad.reshape(normed.shape)
        return _norm_backward(flat * weight, normed, scale).view_as(grad), (flat * normed).sum(0), None


class _SwiGLU(torch.autograd.Function):
    """x (B, T, d), gain (d,), up_gate (2 ffn, d), out (d, ffn) -> x + out(silu(gate) * up)."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, gain: torch.Tensor, up_gate: torch.Tensor, out: torch.Tensor, eps: float
    ) -> torch.Tensor:
        flat = x.flatten(0, 1)
        normed, scale = _normed(flat, eps)
        folded = up_gate * gain
        both = F.linear(normed, folded)
        gate, up = both.chunk(2, -1)
        opened = F.silu(gate)
        mixed = opened * up
        ctx.save_for_backward(normed, scale, gain, up_gate, folded, out, both, opened, mixed)
        return torch.addmm(flat, mixed, out.t()).view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Gradients:
        normed, scale, gain, up_gate, folded, out, both, opened, mixed = ctx.saved_tensors
        flat = grad.reshape(normed.shape)
        gate, up = both.chunk(2, -1)
        d_mixed = flat @ out
        d_both = torch.empty_like(both)
        d_gate, d_up = d_both.chunk(2, -1)
        torch.mul(d_mixed, opened, out=d_up)
        torch.ops.aten.silu_backward.grad_input(d_mixed.mul_(up), gate, grad_input=d_gate)
        d_x, d_gain, d_matrix = _projection_backward(d_both, normed, scale, gain, up_gate, folded)
        return d_x.add_(flat).view_as(grad), d_gain, d_matrix, flat.t() @ mixed, None


class _Attention(torch.autograd.Function):
    """x (B, T, d), gain (d,), qkv (3 H D, d), out (d, H D) -> x + out(attention), causal, with RoPE.

    Queries, keys and values lie as (3 H, B, T, D), so that every head of every sequence is one matrix of a
    batched product.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        gain: torch.Tensor,
        qkv: torch.Tensor,
        out: torch.Tensor,
        eps: float,
        heads: _Heads,
    ) -> torch.Tensor:
        batch, length, _ = x.shape
        flat = x.flatten(0, 1)
        normed, scale = _normed(flat, eps)
        folded = qkv * gain
        split = F.linear(normed, folded).view(batch, length, 3 * heads.number, heads.features)
        parts = split.permute(2, 0, 1, 3).contiguous()
        _turn(parts[: 2 * heads.number], heads.theta, backwards=False)
        q, k, v = parts.view(3, heads.number * batch, length, heads.features).unbind(0)
        scores = torch.baddbmm(_mask(length, x.dtype), q, k.transpose(1, 2), alpha=heads.features**-0.5)
        weights = torch.softmax(scores, -1)
        mixed = _merged(torch.bmm(weights, v), heads.number, batch)
        ctx.save_for_backward(normed, scale, gain, qkv, folded, out, q, k, v, weights, mixed)
        ctx.heads, ctx.sizes = heads, (batch, length)
        return torch.addmm(flat, mixed, out.t()).view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Gradients:
        normed, scale, gain, qkv, folded, out, q, k, v, weights, mixed = ctx.saved_tensors
        heads, (batch, length) = ctx.heads, ctx.sizes
        flat = grad.reshape(normed.shape)
        split = (flat @ out).view(batch, length, heads.number, heads.features)
        d_mixed = split.permute(2, 0, 1, 3).reshape(q.shape)
        d_parts = q.new_empty(3, *q.shape)
        torch.bmm(weights.transpose(1, 2), d_mixed, out=d_parts[2])
        d_weights = torch.bmm(d_mixed, v.transpose(1, 2))
        d_scores = torch._softmax_backward_data(d_weights, weights, -1, weights.dtype)  # noqa: SLF001  the one op that autograd itself uses
        d_scores.mul_(heads.features**-0.5)
        torch.bmm(d_scores, k, out=d_parts[0])
        torch.bmm(d_scores.transpose(1, 2), q, out=d_parts[1])
        d_parts = d_parts.view(3 * heads.number, batch, length, heads.features)
        _turn(d_parts[: 2 * heads.number], heads.theta, backwards=True)
        d_split = d_parts.permute(1, 2, 0, 3).reshape(batch * length, -1)
        d_x, d_gain, d_matrix = _projection_backward(d_split, normed, scale, gain, qkv, folded)
        return d_x.add_(flat).view_as(grad), d_gain, d_matrix, flat.t() @ mixed, None, None


def _normed(x: torch.Tensor, eps: float) -> tuple[torch.Tensor, torch.Tensor]:
    """x (N, d) -> x / rms(x), and 1 / rms (N, 1)."""
    mean, smallest = _constants(x.shape[1], eps, x.dtype)
    scale = torch.addmm(smallest, x * x, mean).rsqrt_()
    return x * scale, scale


def _norm_backward(d_normed: torch.Tensor, normed: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """The gradient of x (N, d) from that of x / rms(x), which is written over."""
    mean, _ = _constants(normed.shape[1], 0.0, normed.dtype)
    return d_normed.addcmul_(normed, (d_normed * normed) @ mean, value=-1.0).mul_(scale)


@lru_cache(maxsize=64)
def _constants(features: int, eps: float, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """(d, 1) of 1 / d, a product with which is a mean, and (1, 1) of eps."""
    return torch.full((features, 1), 1.0 / features, dtype=dtype), torch.full((1, 1), eps, dtype=dtype)


def _projection_backward(
    d_projected: torch.Tensor,
    normed: torch.Tensor,
    scale: torch.Tensor,
    gain: torch.Tensor,
    matrix: torch.Tensor,
    folded: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Gradients of x (N, d), gain (d,) and matrix (F, d) for projected (N, F) = normed folded^T,
    folded = matrix * gain.
    """
    d_folded = d_projected.t() @ normed
    d_x = _norm_backward(d_projected @ folded, normed, scale)
    return d_x, (d_folded * matrix).sum(0), d_folded.mul_(gain)


def _turn(parts: torch.Tensor, theta: float, *, backwards: bool) -> None:
    """Rotate heads (H, B, T, D) in place by the angles of RoPE, or back."""
    _, _, length, features = parts.shape
    angles = _angles(length, features, theta, parts.dtype, backwards)
    torch.view_as_complex(parts.unflatten(-1, (-1, 2))).mul_(angles)


@lru_cache(maxsize=64)
def _angles(length: int, features: int, theta: float, dtype: torch.dtype, backwards: bool) -> torch.Tensor:
    """(T, D / 2) complex: the turn of each pair of features at each position, or its inverse."""
    table = rope_table(length, features, theta, torch.device("cpu"))[:, 0].to(dtype)
    angles = torch.view_as_complex(table.contiguous())
    return angles.conj().resolve_conj() if backwards else angles


def _merged(mixed: torch.Tensor, heads: int, batch: int) -> torch.Tensor:
    """(H B, T, D) -> (B T, H D)."""
    _, length, features = mixed.shape
    return mixed.view(heads, batch, length, features).permute(1, 2, 0, 3).reshape(batch * length, -1)


@lru_cache(maxsize=64)
def _mask(length: int, dtype: torch.dtype) -> torch.Tensor:
    """(T, T): minus infinity above the diagonal, else zero."""
    return torch.full((length, length), float("-inf"), dtype=dtype).triu_(1)
