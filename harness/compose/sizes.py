"""Widths that give a composition a wanted number of parameters, in sizes that kernels like."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from harness.compose.composition import MLP, Composition
from harness.compose.counts import parameters
from harness.compose.primitives.alphabet import Alphabet
from harness.compose.shape import ModelShape
from harness.errors import WrongUsage

TOLERANCE = 0.03
WIDEST_OF_SMALL_HEADS = 2048
"""Heads have 64 features up to this width and 128 above, as in Llama 3.2 at 1B and 3B."""
_STEP, _FFN_STEP = 64, 128
_RATIO, _GROUP = 4, 4
_ODD_WIDTH = 0.05
"""What a width that is no multiple of 128, a tile of a matrix product, counts against a shape."""

LLAMA = ModelShape(
    d_model=2048,
    heads=32,
    kv_heads=8,
    head_dim=64,
    ffn=8192,
    vocab=128_256,
    rope_theta=500_000.0,
)
"""Llama 3.2 1B; what the solver does not choose is taken from it."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """A target. `layers` is how many a model of this size has: those of Llama 3.2, attention and MLP counted
    apart (16 blocks at 1B, 28 at 3B); at 350M, where there is no Llama, those of 1B.
    """

    name: str
    parameters: int
    layers: int


SIZES: Mapping[str, Size] = {
    size.name: size
    for size in (
        Size(name="350M", parameters=350_000_000, layers=32),
        Size(name="1B", parameters=1_000_000_000, layers=32),
        Size(name="3B", parameters=3_000_000_000, layers=56),
    )
}


def solve(
    composition: Composition, alphabet: Alphabet, target: int, *, like: ModelShape = LLAMA
) -> ModelShape:
    """The shape whose parameters come within 3 % of `target`, and whose proportions are nearest to those of
    Llama: ffn 4 x d_model, heads x head_dim = d_model.

    d_model is a multiple of 64, ffn of 128; heads are a multiple of 4 with 64 or 128 features, four to a key
    head; the rest is as in `like`. Without an MLP the number of heads does the fitting. Raises WrongUsage,
    naming the nearest count, where no such shape is near the target.
    """
    best: tuple[float, ModelShape] | None = None
    nearest: int | None = None
    for shape in _candidates(composition, alphabet, target, like):
        total = parameters(composition, alphabet, shape)
        if nearest is None or abs(total - target) < abs(nearest - target):
            nearest = total
        cost = _unlikeness(shape, composition) + abs(total / target - 1)
        if abs(total / target - 1) <= TOLERANCE and (best is None or cost < best[0]):
            best = (cost, shape)
    if best is None:
        found = "none" if nearest is None else f"{nearest:,} at best"
        raise WrongUsage(
            f"{composition.run_length()}: expected a shape within 3 % of {target:,} parameters, got {found}. "
            "Change the number of layers, or the vocabulary."
        )
    return best[1]


def _candidates(
    composition: Composition, alphabet: Alphabet, target: int, like: ModelShape
) -> Iterator[ModelShape]:
    """For every width, the shapes whose ffn, or where there is no MLP whose heads, may fit the target."""
    for d_model in range(_STEP, 16_384, _STEP):
        shape = _with_width(like, d_model)
        if parameters(composition, alphabet, shape.with_(heads=_GROUP, kv_heads=1)) > target * (
            1 + TOLERANCE
        ):
            return
        if (like.ssm_expand * d_model) % (like.ssm_head_dim * like.ssm_groups):
            continue
        if MLP in composition.tokens:
            yield _fitted(shape, composition, alphabet, target)
        else:
            usual = shape.heads
            for heads in range(_GROUP * -(-usual // (2 * _GROUP)), 2 * usual + 1, _GROUP):
                yield shape.with_(heads=heads, kv_heads=heads // _GROUP)


def _with_width(like: ModelShape, d_model: int) -> ModelShape:
    """The shape of this width with the usual heads and the least ffn."""
    head_dim = 64 if d_model <= WIDEST_OF_SMALL_HEADS else 128
    groups = max(1, round(d_model / (head_dim * _GROUP)))
    return like.with_(
        d_model=d_model, heads=groups * _GROUP, kv_heads=groups, head_dim=head_dim, ffn=_FFN_STEP
    )


def _fitted(shape: ModelShape, composition: Composition, alphabet: Alphabet, target: int) -> ModelShape:
    """The shape with the ffn that brings it nearest to the target."""
    least = parameters(composition, alphabet, shape)
    per_step = parameters(composition, alphabet, shape.with_(ffn=2 * _FFN_STEP)) - least
    return shape.with_(ffn=max(1, 1 + round((target - least) / per_step)) * _FFN_STEP)


def _unlikeness(shape: ModelShape, composition: Composition) -> float:
    """0 for Llama's proportions."""
    odd = _ODD_WIDTH if shape.d_model % (2 * _STEP) else 0.0
    heads = abs(math.log(shape.heads * shape.head_dim / shape.d_model))
    ffn = abs(math.log(shape.ffn / (_RATIO * shape.d_model))) if MLP in composition.tokens else 0.0
    return odd + heads + ffn
