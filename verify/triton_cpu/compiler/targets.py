"""What one multiprocessor (compute unit) of each target holds, and how many blocks of a kernel fit in it.

Numbers are those of the makers' documents, named in `TargetFacts.source`; nothing here was measured. Imports
neither torch nor Triton.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Target = Literal["sm_80", "sm_90", "sm_100", "gfx942"]
TARGETS: tuple[Target, ...] = ("sm_80", "sm_90", "sm_100", "gfx942")

Bound = Literal["registers", "shared memory", "warps", "blocks", "tensor memory"]
Limit = Literal["shared", "threads", "tensor"]
BOUNDS: tuple[Bound, ...] = ("registers", "shared memory", "warps", "blocks", "tensor memory")

_CUDA = (
    "CUDA C++ Programming Guide, technical specifications per compute capability; register allocation "
    "units of the CUDA occupancy calculator"
)


@dataclass(frozen=True, kw_only=True)
class TargetFacts:
    """One multiprocessor. Bytes and registers (of 32 bits, a lane) as the hardware counts them.

    `register_unit`: registers a lane are rounded up to a multiple of it. `shared_reserved` bytes of every
    block go to the system. `shared_unit`: shared memory is handed out in multiples of it. `lane_registers`:
    registers for one lane of one of the four schedulers' files, to be shared by the warps it holds.
    `tensor_columns`: columns of tensor memory, 0 where there is none.
    """

    name: str
    warp_size: int
    threads_per_block: int
    warps: int
    blocks: int
    multi_warp_blocks: int
    schedulers: int
    lane_registers: int
    register_unit: int
    thread_registers: int
    shared_bytes: int
    shared_block_bytes: int
    shared_reserved: int
    shared_unit: int
    tensor_columns: int
    source: str


FACTS: Mapping[Target, TargetFacts] = {
    "sm_80": TargetFacts(
        name="A100",
        warp_size=32,
        threads_per_block=1024,
        warps=64,
        blocks=32,
        multi_warp_blocks=32,
        schedulers=4,
        lane_registers=512,
        register_unit=8,
        thread_registers=255,
        shared_bytes=164 << 10,
        shared_block_bytes=166_912,
        shared_reserved=1 << 10,
        shared_unit=128,
        tensor_columns=0,
        source=_CUDA,
    ),
    "sm_90": TargetFacts(
        name="H100",
        warp_size=32,
        threads_per_block=1024,
        warps=64,
        blocks=32,
        multi_warp_blocks=32,
        schedulers=4,
        lane_registers=512,
        register_unit=8,
        thread_registers=255,
        shared_bytes=228 << 10,
        shared_block_bytes=232_448,
        shared_reserved=1 << 10,
        shared_unit=128,
        tensor_columns=0,
        source=_CUDA,
    ),
    "sm_100": TargetFacts(
        name="B200",
        warp_size=32,
        threads_per_block=1024,
        warps=64,
        blocks=32,
        multi_warp_blocks=32,
        schedulers=4,
        lane_registers=512,
        register_unit=8,
        thread_registers=255,
        shared_bytes=228 << 10,
        shared_block_bytes=232_448,
        shared_reserved=1 << 10,
        shared_unit=128,
        tensor_columns=512,
        source=_CUDA + "; PTX ISA, tensor memory",
    ),
    "gfx942": TargetFacts(
        name="MI300X",
        warp_size=64,
        threads_per_block=1024,
        warps=32,
        blocks=32,
        multi_warp_blocks=16,
        schedulers=4,
        lane_registers=512,
        register_unit=8,
        thread_registers=512,
        shared_bytes=64 << 10,
        shared_block_bytes=64 << 10,
        shared_reserved=0,
        shared_unit=512,
        tensor_columns=0,
        source="AMD CDNA 3 instruction set architecture; LLVM's AMDGPU backend (waves, barriers, granules)",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Occupancy:
    """Blocks and warps of one kernel that a multiprocessor holds at once, and what keeps it from more.

    `limited_by` names every bound that is reached; `bounds` gives the blocks that each would allow.
    """

    blocks: int
    warps: int
    most_warps: int
    limited_by: tuple[Bound, ...]
    bounds: Mapping[Bound, int]

    @property
    def percent(self) -> int:
        """Warps that are there, of those that could be, in percent, rounded down."""
        return 100 * self.warps // self.most_warps


def occupancy(
    target: Target, *, registers: int, shared_bytes: int, num_warps: int, tensor_columns: int = 0
) -> Occupancy:
    """Occupancy from `registers` a lane and `shared_bytes` a block.

    Registers: each scheduler has a file of its own, and its warps divide it, in whole units. Raises
    ValueError for a number that no kernel has.
    """
    if num_warps < 1 or registers < 0 or shared_bytes < 0 or tensor_columns < 0:
        raise ValueError(
            f"expected a kernel's numbers, got {num_warps} warps, {registers} registers, "
            f"{shared_bytes} bytes, {tensor_columns} columns"
        )
    facts = FACTS[target]
    held = max(1, _rounded(registers, facts.register_unit))
    warps_by_registers = facts.schedulers * (facts.lane_registers // held)
    shared = _rounded(shared_bytes + facts.shared_reserved, facts.shared_unit)
    bounds: dict[Bound, int] = {
        "registers": warps_by_registers // num_warps,
        "shared memory": facts.shared_bytes // shared if shared else facts.blocks,
        "warps": facts.warps // num_warps,
        "blocks": facts.blocks if num_warps == 1 else facts.multi_warp_blocks,
    }
    if facts.tensor_columns and tensor_columns:
        bounds["tensor memory"] = facts.tensor_columns // tensor_columns
    if shared_bytes > facts.shared_block_bytes:
        bounds["shared memory"] = 0
    blocks = min(bounds.values())
    return Occupancy(
        blocks=blocks,
        warps=blocks * num_warps,
        most_warps=facts.warps,
        limited_by=tuple(name for name in BOUNDS if bounds.get(name) == blocks),
        bounds=bounds,
    )


def exceeded(
    target: Target, *, shared_bytes: int, num_warps: int, tensor_columns: int = 0
) -> dict[Limit, str]:
    """Limits of one block that the target does not have: what is exceeded -> "needs x; sm_90 has y"."""
    facts = FACTS[target]
    found: dict[Limit, str] = {}
    if shared_bytes > facts.shared_block_bytes:
        found["shared"] = (
            f"needs {shared_bytes:,} B of shared memory a block; {target} has {facts.shared_block_bytes:,}"
        )
    threads = num_warps * facts.warp_size
    if threads > facts.threads_per_block:
        found["threads"] = (
            f"needs {threads:,} threads a block ({num_warps} warps of {facts.warp_size}); "
            f"{target} has {facts.threads_per_block:,}"
        )
    if tensor_columns > facts.tensor_columns:
        found["tensor"] = (
            f"needs {tensor_columns:,} columns of tensor memory a block; {target} has {facts.tensor_columns}"
        )
    return found


def _rounded(number: int, unit: int) -> int:
    return -(-number // unit) * unit
