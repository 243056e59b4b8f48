"""Check the oracle itself: autograd of the reference against central differences in float64."""

from __future__ import annotations

import numpy as np

from verify.dtypes import Float64
from verify.findings import Finding
from verify.judge.cases import Case
from verify.judge.inputs import Tensor, draw_inputs
from verify.judge.random import Stream
from verify.judge.session import Rejected, Session, oracle_blobs
from verify.seeds import derive

STEP = 1e-6
LIMIT = 1e-4
"""Allowed difference between both derivatives, relative to the sum of the magnitudes that make up the
derivative.
"""


def check_gradients(session: Session, case: Case, seed: int) -> list[Finding]:
    """For each differentiable tensor, compare <gradient, direction> with (L(x + h d) - L(x - h d)) / 2h.

    L is the inner product of all results with the case's cotangents; directions are random signs that stay
    inside the domain (a tensor at the edge of its domain is moved inward first).
    """
    spec = session.mechanism.spec
    inputs = draw_inputs(spec, case, seed)
    tensors = (*inputs.tensors, *inputs.cotangents)
    entries = [(index, entry) for index, entry in enumerate(spec.differentiated) if entry.differentiable]
    base = [_interior(tensor) for tensor in tensors]
    stream = Stream(derive(seed, "differences"))
    directions = [stream.signs(base[index].shape) for index, _ in entries]
    shifted = []
    for (index, _), direction in zip(entries, directions, strict=True):
        for sign in (1.0, -1.0):
            moved = list(base)
            moved[index] = base[index] + sign * STEP * direction
            shifted.append([np.ascontiguousarray(values).tobytes() for values in moved])
    whole = oracle_blobs(inputs)
    for position, values in enumerate(base):
        if tensors[position].domain != "index":
            whole[position] = np.ascontiguousarray(values).tobytes()
    try:
        gradients = session.evaluate("reference", inputs, [whole], case.label).result()[0]
        count = len(inputs.tensors)
        evaluated = session.evaluate(
            "reference", inputs, [_integers(v[:count], tensors) for v in shifted], case.label, gradients=False
        ).result()
    except Rejected as rejected:
        return [rejected.finding]
    losses = [_loss(results, base[count:]) for results in evaluated]
    findings = []
    offset = len(inputs.cotangents)
    for position, ((_, entry), direction) in enumerate(zip(entries, directions, strict=True)):
        gradient = gradients[offset + position]
        claimed, scale = float(np.sum(gradient * direction)), float(np.sqrt(np.sum(gradient * gradient)))
        measured = (losses[2 * position] - losses[2 * position + 1]) / (2.0 * STEP)
        noise = max(abs(loss) for loss in losses) * 1e-15 / STEP
        if not abs(claimed - measured) <= LIMIT * (scale + abs(measured)) + 100.0 * noise:
            findings.append(
                Finding(
                    rule="GRD-REFERENCE",
                    where=case.label,
                    message=f"d_{entry.name}: the autograd gradient of the reference "
                    "differs from its central difference; expected a differentiable definition, uncut",
                )
            )
    return findings


def _interior(tensor: Tensor) -> Float64:
    """Values two steps away from the edge of a bounded domain, so that both differences stay inside."""
    match tensor.domain:
        case "log_decay":
            return np.minimum(tensor.values, -2.0 * STEP)
        case "unit_interval":
            return np.clip(tensor.values, 2.0 * STEP, 1.0 - 2.0 * STEP)
    return tensor.values


def _integers(blobs: list[bytes], tensors: tuple[Tensor, ...]) -> list[bytes]:
    """`index` tensors travel as int64."""
    return [
        np.frombuffer(blob, np.float64).astype(np.int64).tobytes() if tensor.domain == "index" else blob
        for blob, tensor in zip(blobs, tensors, strict=False)
    ]


def _loss(results: list[Float64], cotangents: list[Float64]) -> float:
    return float(
        sum(np.sum(result * cotangent) for result, cotangent in zip(results, cotangents, strict=True))
    )
