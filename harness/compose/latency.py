"""Predicted time of a model on a device: for every layer the longer of computing and moving, one after
another. An estimate from data sheets, not a measurement: everything runs at its peak, and both triangles of a
causal mask are computed.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.compose.composition import Composition
from harness.compose.primitives.alphabet import Alphabet
from harness.compose.primitives.contract import Primitive
from harness.compose.shape import ModelShape
from verify.device.sheets import DeviceSheet

DTYPE, BYTES = "bf16", 2


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Seconds for one sequence in bfloat16: `prefill` of `length` tokens, and `decode` of the one after them.

    `evidence` says how they came about: "predicted" is by this module, and nothing ran.
    """

    device: str
    length: int
    prefill: float
    decode: float
    evidence: str = "predicted"


def predict(
    composition: Composition, alphabet: Alphabet, shape: ModelShape, sheet: DeviceSheet, *, length: int = 8192
) -> Latency:
    """The estimate for this device. Prefill computes the logits of the last token only, as servers do."""
    layers = [(alphabet[token], many) for token, many in composition.counts().items()]
    head = _bound(sheet, 2 * shape.d_model * shape.vocab, shape.d_model * shape.vocab * BYTES)
    return Latency(
        device=sheet.name,
        length=length,
        prefill=head + sum(many * _prefill(primitive, shape, sheet, length) for primitive, many in layers),
        decode=head + sum(many * _decode(primitive, shape, sheet, length) for primitive, many in layers),
    )


def _prefill(primitive: Primitive, shape: ModelShape, sheet: DeviceSheet, length: int) -> float:
    """Weights read, activations read and written once, the state written."""
    moved = BYTES * (primitive.parameters(shape) + 2 * length * shape.d_model)
    return _bound(sheet, primitive.flops(shape, length), moved + primitive.state_bytes(shape, length))


def _decode(primitive: Primitive, shape: ModelShape, sheet: DeviceSheet, length: int) -> float:
    """Weights and state read; a multiply and an add for each value of both."""
    weights, state = primitive.parameters(shape), primitive.state_bytes(shape, length)
    moved = BYTES * (weights + 2 * shape.d_model) + state
    return _bound(sheet, 2 * weights + 2 * state // BYTES, moved)


def _bound(sheet: DeviceSheet, flops: int, moved: int) -> float:
    return max(flops / sheet.tensor_flops(DTYPE), moved / sheet.dram_bytes)
