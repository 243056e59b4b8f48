from __future__ import annotations

import torch

from harness.compose.primitives.rope import half_order, rope_table, rotate

THETA = 10_000.0


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def test_the_product_of_two_heads_depends_on_their_distance_alone():
    q, k = normal(1, 1, 1, 16).expand(1, 40, 1, 16), normal(1, 1, 1, 16, seed=1).expand(1, 40, 1, 16)
    scores = rotate(q, THETA)[0, :, 0] @ rotate(k, THETA)[0, :, 0].T
    torch.testing.assert_close(scores[5:, 5:], scores[:-5, :-5], rtol=1e-4, atol=1e-4)


def test_the_complex_and_the_real_form_agree():
    x = normal(2, 33, 3, 8)
    torch.testing.assert_close(rotate(x, THETA), rotate(x.double(), THETA).float(), rtol=1e-5, atol=1e-5)


def test_lengths_are_kept():
    x = normal(2, 33, 3, 8)
    torch.testing.assert_close(rotate(x, THETA).norm(dim=-1), x.norm(dim=-1))


def test_half_order_gives_the_layout_of_hugging_face():
    x = normal(1, 7, 1, 8)
    cos, sin = rope_table(7, 8, THETA, x.device).unbind(-1)
    cos, sin = torch.cat((cos, cos), -1), torch.cat((sin, sin), -1)
    theirs = x[..., half_order(8)]
    expected = theirs * cos + torch.cat((-theirs[..., 4:], theirs[..., :4]), -1) * sin
    torch.testing.assert_close(rotate(x, THETA)[..., half_order(8)], expected)
