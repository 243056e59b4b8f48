"""State space duality in chunks of matrix products: Mamba-2's mixing, in PyTorch.

    S_t = exp(dt_t A_h) S_{t-1} + dt_t x_t B_t^T,   y_t = S_t C_t

Source: Dao and Gu 2024 (arXiv 2405.21060), section 6 and listing 1.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

CHUNK = 64
"""Tokens a chunk: quadratic inside, recurrent between. One chunk holds the sequences of most proxies."""


def ssd(
    x: torch.Tensor,
    dt: torch.Tensor,
    A: torch.Tensor,
    B: torch.Tensor,
    C: torch.Tensor,
    *,
    chunk: int = CHUNK,
) -> torch.Tensor:
    """x (B, T, H, P), dt (B, T, H) > 0, A (H,) < 0, B and C (B, T, G, N) with H = G R -> y (B, T, H, P).

    All in one floating dtype; float32 is meant, for dt A is summed over a chunk before its exponential.
    """
    batch, length, heads, width = x.shape
    groups, chunk = B.shape[2], min(chunk, length)
    inputs = (x * dt[..., None], dt * A, B, C)
    if length % chunk:
        # Steps of zero: they neither fade the state nor add to it.
        inputs = tuple(F.pad(each, (0, 0) * (each.dim() - 2) + (0, -length % chunk)) for each in inputs)
    fed, fades, B, C = (each.unflatten(1, (-1, chunk)) for each in inputs)
    fed = fed.unflatten(3, (groups, -1)).transpose(2, 3)  # (B, c, G, Q, R, P)
    log_decay = fades.cumsum(2).transpose(2, 3).unflatten(2, (groups, -1))  # (B, c, G, R, Q), since its start
    B, C = B.transpose(2, 3), C.transpose(2, 3)  # (B, c, G, Q, N)
    y = _within(fed, log_decay, B, C)
    if y.shape[1] > 1:
        y = y + _from_earlier(fed, log_decay, B, C)
    return y.transpose(2, 3).reshape(batch, -1, heads, width)[:, :length]


def _within(fed: torch.Tensor, log_decay: torch.Tensor, B: torch.Tensor, C: torch.Tensor) -> torch.Tensor:
    """What tokens get from tokens of their own chunk: (B, c, G, Q, R, P)."""
    scores = (C @ B.transpose(-1, -2)).unsqueeze(3) * segment_decay(log_decay)  # (B, c, G, R, Q, Q)
    return (scores @ fed.transpose(3, 4)).transpose(3, 4)


def _from_earlier(
    fed: torch.Tensor, log_decay: torch.Tensor, B: torch.Tensor, C: torch.Tensor
) -> torch.Tensor:
    """What tokens get from chunks before their own, through the state at its start: (B, c, G, Q, R, P)."""
    to_end = (log_decay[..., -1:] - log_decay).exp().transpose(3, 4)  # (B, c, G, Q, R)
    added = B.transpose(-1, -2) @ (fed * to_end[..., None]).flatten(4)  # (B, c, G, N, R P)
    whole = log_decay[..., -1].movedim(1, -1)  # (B, G, R, c): over each chunk
    # The state at the start of chunk z: what chunk c added, faded over the chunks between them.
    between = segment_decay(F.pad(whole, (1, 0)).cumsum(-1))[..., :-1, 1:]  # (B, G, R, c, c)
    added = added.unflatten(4, (log_decay.shape[3], -1)).permute(0, 2, 4, 1, 3, 5)  # (B, G, R, c, N, P)
    states = (between @ added.flatten(4)).unflatten(4, added.shape[4:])
    read = C @ states.permute(0, 3, 1, 4, 2, 5).flatten(4)  # (B, c, G, Q, R P)
    since_start = log_decay.exp().transpose(3, 4)
    return read.unflatten(4, (log_decay.shape[3], -1)) * since_start[..., None]


def segment_decay(log_decay: torch.Tensor) -> torch.Tensor:
    """(..., Q) sums of log decays up to each token -> (..., Q, Q): exp of the sum after s up to t, 0 for
    s > t.
    """
    size = log_decay.shape[-1]
    # Added, not filled in: the derivative of a sum is free.
    ahead = torch.full((size, size), -math.inf, dtype=log_decay.dtype, device=log_decay.device).triu(1)
    return (log_decay[..., :, None] - log_decay[..., None, :]).add_(ahead).exp_()
