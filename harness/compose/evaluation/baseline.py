"""What a composition is compared with: attention and MLP in turn, equally deep and of as many parameters."""

from __future__ import annotations

from harness.compose.composition import Composition
from harness.compose.counts import parameters
from harness.compose.primitives.alphabet import Alphabet
from harness.compose.shape import ModelShape
from harness.errors import HarnessError

TOLERANCE = 0.03
"""How far apart two models of equal size may be, as a part of the reference's parameters."""
FFN_STEP = 8


def equal_shape(composition: Composition, alphabet: Alphabet, shape: ModelShape, target: int) -> ModelShape:
    """`shape` with the `ffn` that brings `composition` nearest to `target` parameters.

    The count is linear in `ffn`, so two counts give the answer. Raises HarnessError if that is not within
    TOLERANCE: without an MLP nothing changes, and `ffn` is no smaller than FFN_STEP.
    """
    one, two = (parameters(composition, alphabet, shape.with_(ffn=ffn)) for ffn in (FFN_STEP, 2 * FFN_STEP))
    steps = max(1, round(1 + (target - one) / (two - one))) if two > one else 1
    solved = shape.with_(ffn=steps * FFN_STEP)
    found = parameters(composition, alphabet, solved)
    if abs(found - target) > TOLERANCE * target:
        raise HarnessError(
            f"baseline {composition.run_length()}: expected a size within {TOLERANCE:.0%} of {target:,} "
            f"parameters by its ffn, got {found:,}. Change d_model."
        )
    return solved
