"""Rotary position embedding (arXiv 2104.09864), halves rotated against each other as in Llama."""

from __future__ import annotations

from functools import lru_cache

import torch


@lru_cache(maxsize=32)
def rope_tables(
    length: int, head_dim: int, theta: float, dtype: torch.dtype, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and signed sines, each (length, 1, head_dim), of position x theta^(-2i / head_dim) in radians.

    Angles are float32 whatever `dtype`: in bfloat16, positions above 256 would not be whole numbers.
    """
    with torch.inference_mode(mode=False):
        exponents = torch.arange(0, head_dim, 2, dtype=torch.float32, device=device) / head_dim
        positions = torch.arange(length, dtype=torch.float32, device=device)
        angles = torch.outer(positions, theta**-exponents)[:, None, :]
        cos, sin = angles.cos(), angles.sin()
        return torch.cat((cos, cos), -1).to(dtype), torch.cat((-sin, sin), -1).to(dtype)


def rotate(x: torch.Tensor, theta: float) -> torch.Tensor:
    """x (B, T, H, D), D even, each head turned by the angles of its position 0 to T - 1; dtype as x."""
    length, head_dim = x.shape[1], x.shape[3]
    cos, sin = rope_tables(length, head_dim, theta, x.dtype, x.device)
    return torch.addcmul(x * cos, x.roll(head_dim // 2, -1), sin)
