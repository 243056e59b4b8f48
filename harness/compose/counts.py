"""What a composition costs at a shape: parameters, state, operations; and whether it may be made yet."""

from __future__ import annotations

from dataclasses import dataclass

from harness.compose.composition import Composition
from harness.compose.primitives.alphabet import Alphabet
from harness.compose.primitives.mechanism import PrimitiveRefused
from harness.compose.shape import ModelShape

LARGEST_PREDICTED = 100_000_000
"""Parameters up to which a mechanism's throughput may be an estimate (rule ADM-EVIDENCE)."""


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Of one sequence of `length` tokens. `state_bytes` is what it keeps to go on, in bfloat16 where a SPEC
    does not say float32. `flops_per_token` is the forward pass, head included, divided by `length`.
    """

    length: int
    parameters: int
    state_bytes: int
    flops_per_token: float


def count(composition: Composition, alphabet: Alphabet, shape: ModelShape, *, length: int) -> Counts:
    """All counts. Raises WrongUsage for unknown tokens, ValueError for sizes that a primitive cannot have."""
    layers = [(alphabet[token], many) for token, many in composition.counts().items()]
    flops = sum(many * primitive.flops(shape, length) for primitive, many in layers)
    flops += 2 * length * shape.d_model * shape.vocab
    return Counts(
        length=length,
        parameters=parameters(composition, alphabet, shape),
        state_bytes=sum(many * primitive.state_bytes(shape, length) for primitive, many in layers),
        flops_per_token=flops / length,
    )


def parameters(composition: Composition, alphabet: Alphabet, shape: ModelShape) -> int:
    """Learned numbers of the model: layers with their norms, embedding, last norm, and a head unless tied."""
    ends = shape.vocab * shape.d_model * (1 if shape.tied else 2) + shape.d_model
    layers = composition.counts().items()
    return ends + sum(many * (shape.d_model + alphabet[token].parameters(shape)) for token, many in layers)


def needs_measured(composition: Composition, alphabet: Alphabet) -> tuple[str, ...]:
    """Tokens whose throughput no device has shown, sorted."""
    return tuple(sorted(token for token in set(composition.tokens) if alphabet[token].needs_measured))


def check_evidence(composition: Composition, alphabet: Alphabet, shape: ModelShape) -> None:
    """Raises PrimitiveRefused (ADM-EVIDENCE) for a model too large for what is known of its parts."""
    unproven = needs_measured(composition, alphabet)
    if not unproven:
        return
    total = parameters(composition, alphabet, shape)
    if total > LARGEST_PREDICTED:
        raise PrimitiveRefused(
            "ADM-EVIDENCE",
            f"{', '.join(unproven)}: ADM-EVIDENCE expected device:<name> as evidence of THR in a model of "
            f"{total:,} parameters (estimates serve up to {LARGEST_PREDICTED:,}), got estimates. Judge them "
            "on a machine with a GPU; to count only, build on the meta device.",
        )
