"""Rotary position embedding (arXiv 2104.09864): pairs of neighbouring features, turned by their position.

Neighbours, as in the paper and in Meta's Llama. Hugging Face pairs feature i with i + D/2 instead, which is a
permutation of the rows of the query and key projections: `half_order` gives it.
"""

from __future__ import annotations

from functools import lru_cache

import torch


@lru_cache(maxsize=32)
def rope_table(length: int, head_dim: int, theta: float, device: torch.device) -> torch.Tensor:
    """(length, 1, head_dim / 2, 2) float32: cosine and sine of position x theta^(-2i / head_dim) radians."""
    with torch.inference_mode(False):  # a table made while evaluating serves training later
        exponents = torch.arange(0, head_dim, 2, dtype=torch.float32, device=device) / head_dim
        positions = torch.arange(length, dtype=torch.float32, device=device)
        angles = torch.outer(positions, theta**-exponents)[:, None, :]
        return torch.stack((angles.cos(), angles.sin()), -1)


def rotate(x: torch.Tensor, theta: float) -> torch.Tensor:
    """x (B, T, H, D), D even, each head turned by the angles of its position 0 to T - 1; dtype as x.

    Angles are float32 whatever the dtype: in bfloat16, positions above 256 would not be whole numbers.
    """
    # Tables are kept for plain tensors alone: fake ones, and those of a trace, must not outlive it.
    plain = type(x) is torch.Tensor and not torch.compiler.is_compiling()
    make = rope_table if plain else rope_table.__wrapped__
    table = make(x.shape[1], x.shape[3], theta, x.device)
    pairs = x.unflatten(-1, (-1, 2))
    if x.dtype == torch.float32 and x.device.type == "cpu":
        # One product of complex numbers: three times as fast as the four real ones at the widths of searches.
        turned = torch.view_as_complex(pairs) * torch.view_as_complex(table)
        return torch.view_as_real(turned).flatten(-2)
    (even, odd), (cos, sin) = pairs.unbind(-1), table.to(x.dtype).unbind(-1)
    return torch.stack((even * cos - odd * sin, odd * cos + even * sin), -1).flatten(-2)


def half_order(head_dim: int) -> torch.Tensor:
    """(head_dim,) int64: row of our head that is row i of the same head in Hugging Face's layout."""
    return torch.cat((torch.arange(0, head_dim, 2), torch.arange(1, head_dim, 2)))
