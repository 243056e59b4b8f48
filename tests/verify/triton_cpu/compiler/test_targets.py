"""Occupancy against numbers worked out by hand from the makers' tables, and against LLVM's own count."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verify.triton_cpu.compiler.targets import FACTS, TARGETS, Target, exceeded, occupancy


@pytest.mark.parametrize(
    ("target", "registers", "shared", "warps", "blocks", "limits"),
    [
        # 32 registers: 2,048 threads fit the file exactly, so registers and warps end together.
        ("sm_80", 32, 0, 4, 16, ("registers", "warps")),
        # 255 are handed out as 256 a lane: two warps a scheduler, eight in all.
        ("sm_90", 255, 0, 4, 2, ("registers",)),
        # 100 are handed out as 104: four warps a scheduler (416 of 512), sixteen in all, two blocks of eight.
        ("sm_90", 100, 0, 8, 2, ("registers",)),
        # A block of one warp: 32 blocks are the limit, not 64 warps.
        ("sm_90", 16, 0, 1, 32, ("blocks",)),
        # 1 KiB of every block is the system's: 4 x (57,088 + 1,024) = 232,448 of 233,472 bytes.
        ("sm_90", 32, 57_088, 4, 4, ("shared memory",)),
        ("sm_90", 32, 57_400, 4, 3, ("shared memory",)),
        ("sm_80", 64, 166_912, 8, 1, ("shared memory",)),
        # 512 columns of tensor memory, 256 a block.
        ("sm_100", 64, 1024, 4, 2, ("tensor memory",)),
        # 64 KiB of LDS; nothing is reserved.
        ("gfx942", 64, 16_384, 4, 4, ("shared memory",)),
        # Blocks of several waves need a barrier each, of which there are 16.
        ("gfx942", 16, 0, 2, 16, ("warps", "blocks")),
    ],
)
def test_occupancy_is_that_of_the_tables(
    target: Target, registers: int, shared: int, warps: int, blocks: int, limits: tuple[str, ...]
) -> None:
    columns = 256 if target == "sm_100" else 0
    fit = occupancy(target, registers=registers, shared_bytes=shared, num_warps=warps, tensor_columns=columns)
    assert (fit.blocks, fit.limited_by) == (blocks, limits)
    assert fit.warps == blocks * warps
    assert fit.percent == 100 * fit.warps // FACTS[target].warps


@pytest.mark.parametrize(("registers", "waves"), [(291, 1), (138, 3), (82, 5), (94, 5), (10, 8)])
def test_gfx942_agrees_with_the_occupancy_that_llvm_writes_into_its_assembly(
    registers: int, waves: int
) -> None:
    fit = occupancy("gfx942", registers=registers, shared_bytes=0, num_warps=1)
    assert min(FACTS["gfx942"].warps, fit.bounds["registers"]) == 4 * waves


@settings(max_examples=40)
@given(
    target=st.sampled_from(TARGETS),
    registers=st.integers(1, 255),
    shared=st.integers(0, 65_536),
    warps=st.sampled_from([1, 2, 4, 8, 16]),
    more=st.integers(1, 64),
)
def test_a_larger_kernel_never_has_more_blocks(
    target: Target, registers: int, shared: int, warps: int, more: int
) -> None:
    fit = occupancy(target, registers=registers, shared_bytes=shared, num_warps=warps)
    assert 0 <= fit.warps <= fit.most_warps
    assert fit.blocks == min(fit.bounds.values())
    assert all(fit.bounds[name] == fit.blocks for name in fit.limited_by)
    assert fit.limited_by
    for larger in (
        occupancy(target, registers=registers + more, shared_bytes=shared, num_warps=warps),
        occupancy(target, registers=registers, shared_bytes=shared + 1024 * more, num_warps=warps),
        occupancy(target, registers=registers, shared_bytes=shared, num_warps=2 * warps),
    ):
        assert larger.blocks <= fit.blocks


@pytest.mark.parametrize("target", TARGETS)
def test_a_block_over_a_limit_says_what_it_needs_and_what_there_is(target: Target) -> None:
    facts = FACTS[target]
    most = facts.threads_per_block // facts.warp_size
    shared, columns = facts.shared_block_bytes, facts.tensor_columns
    assert exceeded(target, shared_bytes=shared, num_warps=most, tensor_columns=columns) == {}
    over = exceeded(
        target,
        shared_bytes=facts.shared_block_bytes + 1,
        num_warps=most + 1,
        tensor_columns=facts.tensor_columns + 1,
    )
    assert set(over) == {"shared", "threads", "tensor"}
    assert f"{facts.shared_block_bytes + 1:,}" in over["shared"]
    assert f"{facts.shared_block_bytes:,}" in over["shared"]
    assert "1,024" in over["threads"]
    over_block = occupancy(target, registers=32, shared_bytes=facts.shared_block_bytes + 1, num_warps=4)
    assert (over_block.blocks, over_block.limited_by) == (0, ("shared memory",))


def test_numbers_that_no_kernel_has_are_refused() -> None:
    with pytest.raises(ValueError, match="0 warps"):
        occupancy("sm_90", registers=32, shared_bytes=0, num_warps=0)
