"""From counts to the least time: each pipe on paper, and what binds."""

from __future__ import annotations

import math
from typing import Any

import pytest

from verify.device.facts import facts_of
from verify.device.sheets import SHEETS
from verify.judge.verdict import TARGETS
from verify.roofline.bounds import PIPES, bound_of, bounds_of, total_seconds
from verify.triton_cpu.counting.counts import Counts, LaunchCounts, ProgramCounts

H100 = SHEETS["sm_90"]
CLOCK = 1.98e9


def launch(programs: int, each: Counts, *, more: tuple[Counts, ...] = (), **in_all: Any) -> LaunchCounts:
    """So many programs of `each`, and those of `more`."""
    rows = [(each, float(programs)), *((one, 1.0) for one in more)]
    total = Counts.total(rows)
    fields = {name: getattr(total, name) for name in Counts.__dataclass_fields__} | in_all
    return LaunchCounts(
        kernel="kernel",
        grid=(programs + len(more), 1, 1),
        sampled=len(rows),
        complete=False,
        counts=Counts(**fields),
        arguments=(),
        programs=tuple(
            ProgramCounts(program=(at, 0, 0), weight=weight, counts=counts)
            for at, (counts, weight) in enumerate(rows)
        ),
    )


def test_every_pipe_needs_its_share_of_the_device() -> None:
    work = {"fp32_flops": 256e6, "special_ops": 16e6, "fetched_sectors": 1e6, "flushed_sectors": 1e6}
    one = launch(132, Counts(dot_flops={"bf16": 4096e6}, **work), unique_loaded=3e9, unique_stored=0.36e9)
    bound = bound_of(one, H100)
    for pipe in ("tensor", "fp32", "special"):
        assert math.isclose(bound.seconds[pipe], 1e6 / CLOCK)
    assert math.isclose(bound.seconds["L2"], 132 * 2e6 * 32 / (132 * 64 * CLOCK))
    assert math.isclose(bound.seconds["DRAM"], 1e-3)
    assert bound.bound_by == "DRAM"
    assert math.isclose(bound.total, 1e-3)


@pytest.mark.parametrize(
    ("operand", "pipe", "clocks"),
    [
        ("bf16", "tensor", 1.0),
        ("fp16", "tensor", 1.0),
        ("tf32", "tensor", 2.0),
        ("tf32x3", "tensor", 6.0),
        ("bf16x6", "tensor", 6.0),
        ("fp8e4nv", "tensor", 0.5),
        ("int8", "tensor", 0.5),
        ("fp32", "fp32", 16.0),
    ],
)
def test_a_dot_takes_the_pipe_and_rate_of_its_operands(operand: str, pipe: str, clocks: float) -> None:
    bound = bound_of(launch(132, Counts(dot_flops={operand: 4096e6})), H100)
    assert bound.bound_by == pipe
    assert math.isclose(bound.total * CLOCK, clocks * 1e6)


def test_float32_dots_use_matrix_units_where_there_are_some() -> None:
    bound = bound_of(launch(304, Counts(dot_flops={"fp32": 256e6})), SHEETS["gfx942"])
    assert bound.bound_by == "tensor"
    assert math.isclose(bound.total * 2.1e9, 1e6)


def test_few_programs_cannot_use_the_whole_device() -> None:
    alone = bound_of(launch(1, Counts(fp32_flops=256e6)), H100)
    full = bound_of(launch(132, Counts(fp32_flops=256e6)), H100)
    assert math.isclose(alone.total, full.total)


def test_the_last_wave_takes_as_long_as_the_others() -> None:
    bound = bound_of(launch(133, Counts(fp32_flops=256e6)), H100)
    assert math.isclose(bound.total * CLOCK, 2e6)


def test_the_longest_program_bounds_the_launch() -> None:
    bound = bound_of(launch(263, Counts(fp32_flops=256.0), more=(Counts(fp32_flops=256e6),)), H100)
    assert math.isclose(bound.total * CLOCK, 1e6)


def test_launches_run_one_after_another() -> None:
    one = launch(132, Counts(fp32_flops=256e6))
    assert math.isclose(total_seconds(bounds_of([one, one, one], H100)), 3 * bound_of(one, H100).total)


def test_every_target_has_a_sheet_with_positive_rates() -> None:
    assert sorted(SHEETS) == sorted(TARGETS)
    for sheet in SHEETS.values():
        rates = [sheet.tensor_flops("bf16"), sheet.vector_flops, sheet.special_rate, sheet.l2_bytes]
        assert min(rates) > 0
        assert sheet.l2_bytes > sheet.dram_bytes
        assert sheet.tensor_flops("bf16") > sheet.tensor_flops("tf32") > sheet.vector_flops


@pytest.mark.parametrize(
    ("target", "name"), [("sm_90", "NVIDIA H100 80GB HBM3"), ("sm_80", "NVIDIA A100-SXM4-80GB")]
)
def test_sheets_and_the_facts_of_devices_agree(target: str, name: str) -> None:
    facts = facts_of({"name": name, "l2_bytes": None})
    assert facts.bfloat16_flops == SHEETS[target].tensor_flops("bf16")
    assert facts.dram_bytes == SHEETS[target].dram_bytes


def test_a_bound_says_its_pipes_in_microseconds() -> None:
    document = bound_of(launch(132, Counts(fp32_flops=256e6)), H100).to_json()
    assert set(document["microseconds_by_pipe"]) == set(PIPES)
    assert math.isclose(document["microseconds"], 1e12 / CLOCK)
    assert document["bound_by"] == "fp32"


@pytest.mark.parametrize(
    ("field", "value"), [("sampled", -1), ("grid", [1, 2]), ("counts", {}), ("kernel", 5), ("programs", 3)]
)
def test_what_a_worker_answers_is_checked(field: str, value: object) -> None:
    good = launch(132, Counts(fp32_flops=256e6)).to_json()
    assert LaunchCounts.from_json(good).to_json() == good
    with pytest.raises(ValueError):
        LaunchCounts.from_json({**good, field: value})
