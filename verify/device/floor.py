"""The time that no implementation can be under: what must move and what is multiplied, at the peak rates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from verify.device.facts import DeviceFacts
from verify.plan.format import Plan, TensorRef


@dataclass(frozen=True, kw_only=True)
class Floor:
    """`seconds` is None where the device is unknown; `reason` says so, or which bound it is."""

    seconds: float | None
    reason: str
    moved_bytes: int
    dot_flops: float

    def to_json(self) -> dict[str, Any]:
        return {
            "microseconds": None if self.seconds is None else self.seconds * 1e6,
            "reason": self.reason,
            "moved_bytes": self.moved_bytes,
            "dot_flops": self.dot_flops,
        }


def floor_of(plan: Plan, dot_flops: float, facts: DeviceFacts) -> Floor:
    """The larger of two bounds for one run of forward and backward.

    Every argument is read and every result written once; what fits into the L2 cache may have stayed there
    from the run before, and is not counted. `dot_flops` are those that the kernels themselves execute, as
    counted by the interpreter: kernels that take less time than their own products did not execute them.
    """
    results: list[TensorRef] = [plan.output, *plan.state]
    results += [ref for ref in plan.gradients or () if ref is not None]
    moved = sum(buffer.nbytes for buffer in plan.buffers if buffer.argument is not None)
    moved += sum(ref.numel * ref.itemsize for ref in results)
    counted = max(0, moved - (facts.l2_bytes or 0))
    bounds = []
    if facts.dram_bytes and facts.l2_bytes:
        bounds.append((counted / facts.dram_bytes, f"{counted} bytes at {facts.dram_bytes:.3g} a second"))
    if facts.bfloat16_flops:
        peak = facts.bfloat16_flops
        bounds.append((dot_flops / peak, f"{dot_flops:.3g} FLOPs at {peak:.3g} a second"))
    if not bounds:
        return Floor(
            seconds=None,
            reason=f"bandwidth and peak of {facts.name} are unknown",
            moved_bytes=moved,
            dot_flops=dot_flops,
        )
    seconds, reason = max(bounds)
    return Floor(seconds=seconds, reason=f"{reason} ({facts.source})", moved_bytes=moved, dot_flops=dot_flops)
