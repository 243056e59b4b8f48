"""THR without a device: a plain roofline estimate, marked `predicted`.

Tensor-core work is counted by the interpreter at three lengths, where a polynomial of degree two in T is
exact for linear and quadratic mechanisms alike, and extended to the reference shapes; memory traffic is each
launch's distinct buffers, once. Time = sum over launches of max(compute, memory) plus a launch cost: a lower
bound, not a forecast.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from verify.judge.cases import SHAPES, Case, usual_sizes
from verify.judge.contract_checks import dense_request, trace_request
from verify.judge.inputs import draw_inputs
from verify.judge.session import Session
from verify.plan.format import Launch, Plan, TensorRef
from verify.source.contract import Spec

H100 = {"bfloat16_flops": 989e12, "dram_bytes": 3.35e12, "launch_seconds": 3e-6}
"""H100 SXM: dense bfloat16 tensor-core rate and HBM3 bandwidth from NVIDIA's data sheet; launch cost is a
guess.
"""


def estimate(session: Session, seed: int) -> list[dict[str, Any]]:
    """One row per reference shape, forward + backward in bfloat16. Raises Rejected where a run fails."""
    rows = []
    for shape in SHAPES:
        flops = dot_flops(session, shape, seed)
        rows.append(_roofline(_plan(session, shape), flops, shape))
    return rows


def dot_flops(session: Session, shape: Mapping[str, int], seed: int) -> dict[str, float]:
    """Tensor-core FLOPs by kernel at a reference shape. Raises Rejected."""
    lengths = (128, 256, 384)
    flops = [_count(session, length, shape["D"], seed) for length in lengths]
    kernels = sorted({name for counts in flops for name in counts})
    spec = session.mechanism.spec
    times = shape["B"] * _heads(spec, shape) / _heads(spec, {**shape, "H": 1})
    return {
        name: times * max(0.0, _extend(lengths, [counts.get(name, 0.0) for counts in flops], shape["T"]))
        for name in kernels
    }


def _heads(spec: Spec, shape: Mapping[str, int]) -> int:
    """How many heads the case of this shape has; 1 for a mechanism without heads."""
    return spec.resolve(reference_case(spec, shape).size_map).get("H", 1)


def _count(session: Session, length: int, head: int, seed: int) -> dict[str, float]:
    """Dot FLOPs by kernel for one batch entry and one head, or as few heads as there may be."""
    case = reference_case(session.mechanism.spec, {"B": 1, "T": length, "H": 1, "D": head})
    inputs = draw_inputs(session.mechanism.spec, case, seed)
    plan = session.trace(trace_request(session.mechanism, case, inputs), case.label)
    counters = session.execute(plan, inputs, case.label, poison=0xFF, interpreted=True).result().counters
    return {name: float(row["dot_flops"]) for name, row in counters["kernels"].items()}


def _extend(lengths: tuple[int, ...], counts: list[float], length: int) -> float:
    return float(np.polyval(np.polyfit(np.array(lengths, float) / length, np.array(counts), 2), 1.0))


def reference_case(spec: Spec, shape: Mapping[str, int]) -> Case:
    """The case in bfloat16 at a reference shape, as far as the SPEC allows its sizes.

    Where H is a product of groups and their queries, every group has one query.
    """
    chosen = {**shape, "K": shape["D"], "V": shape["D"]}
    names = spec.head_dims()
    chosen |= dict.fromkeys(names, 1) | dict.fromkeys(names[:1], shape["H"])
    return Case(sizes=usual_sizes(spec, chosen), dtype="bfloat16")


def _plan(session: Session, shape: Mapping[str, int]) -> Plan:
    """The plan at the full shape; only layouts are needed, no data is made."""
    case = reference_case(session.mechanism.spec, shape)
    return session.trace(dense_request(session.mechanism, case), f"T={shape['T']}, bfloat16")


def _roofline(plan: Plan, flops: Mapping[str, float], shape: Mapping[str, int]) -> dict[str, Any]:
    launches = plan.launches
    share = {name: sum(1 for launch in launches if launch.kernel == name) for name in flops}
    seconds, traffic, work = 0.0, 0, 0.0
    for launch in launches:
        moved = _footprint(plan, launch)
        done = flops.get(launch.kernel, 0.0) / max(1, share.get(launch.kernel, 1))
        seconds += max(done / H100["bfloat16_flops"], moved / H100["dram_bytes"]) + H100["launch_seconds"]
        traffic, work = traffic + moved, work + done
    tokens = shape["B"] * shape["T"]
    return {
        "shape": dict(shape),
        "device": "H100 (model)",
        "microseconds": seconds * 1e6,
        "dram_bytes": traffic,
        "dot_flops": work,
        "launches": len(launches),
        "tokens_per_second": tokens / seconds,
    }


def _footprint(plan: Plan, launch: Launch) -> int:
    buffers = {value.buffer for _, value in launch.arguments if isinstance(value, TensorRef)}
    return sum(plan.buffers[buffer].nbytes for buffer in buffers)
