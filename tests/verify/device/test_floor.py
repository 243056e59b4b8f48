"""The floor under a time: known devices have one, unknown ones say that they have none."""

from __future__ import annotations

from typing import Any

import pytest

from verify.device.bench import below_floor
from verify.device.clock import Reading, summarise
from verify.device.facts import DeviceFacts, facts_of, slug_of
from verify.device.floor import floor_of
from verify.plan.format import BufferDecl, Plan, TensorRef

MEGABYTE = 1 << 20


def described(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "l2_bytes": None, "memory_hertz": None, "bus_bits": None, **more}


def plan() -> Plan:
    """Reads 192 MiB, writes 64 MiB of results, beside scratch that need not reach memory."""
    output = TensorRef(buffer=2, dtype="float32", shape=(16 * MEGABYTE,), strides=(1,), offset=0)
    sizes = {"q": 64, "d_output": 128, None: 256}
    return Plan(
        buffers=tuple(BufferDecl(nbytes=n * MEGABYTE, argument=a, label="b") for a, n in sizes.items()),
        forward=(),
        output=output,
        state=(),
        residuals=(),
        backward=(),
        gradients=(None,),
    )


FACTS = DeviceFacts(name="d", source="test", dram_bytes=1e12, bfloat16_flops=1e15, l2_bytes=56 * MEGABYTE)


@pytest.mark.parametrize(
    ("name", "dram", "flops"),
    [
        ("NVIDIA H100 80GB HBM3", 3.36e12, 1.07e15),
        ("NVIDIA H100 PCIe", 2.04e12, 0.925e15),
        ("NVIDIA H200", 4.8e12, 1.07e15),
        ("NVIDIA A100-SXM4-80GB", 2.04e12, 0.312e15),
        ("NVIDIA A100-PCIE-40GB", 1.56e12, 0.312e15),
    ],
)
def test_known_devices_have_their_data_sheets_rates(name: str, dram: float, flops: float) -> None:
    facts = facts_of(described(name))
    assert facts.dram_bytes == dram
    assert facts.bfloat16_flops == pytest.approx(flops, rel=0.01)
    assert "data sheet" in facts.source


@pytest.mark.parametrize("name", ["NVIDIA GH200 480GB", "NVIDIA GeForce RTX 4090", "cpu"])
def test_a_name_that_only_resembles_a_known_one_has_no_peak(name: str) -> None:
    assert facts_of(described(name)).bfloat16_flops is None


def test_an_unknown_device_has_the_bandwidth_that_its_driver_reports() -> None:
    facts = facts_of(described("Other", memory_hertz=2_619_000_000, bus_bits=5120, l2_bytes=50 * MEGABYTE))
    assert facts.dram_bytes == pytest.approx(3.352e12, rel=1e-3)
    assert floor_of(plan(), 1e15, facts).seconds is not None


def test_the_larger_bound_is_the_floor() -> None:
    memory = floor_of(plan(), 0.0, FACTS)
    assert memory.moved_bytes == 256 * MEGABYTE
    assert memory.seconds == pytest.approx(200 * MEGABYTE / 1e12)
    assert "bytes" in memory.reason
    compute = floor_of(plan(), 1e12, FACTS)
    assert compute.seconds == pytest.approx(1e-3)
    assert "FLOPs" in compute.reason


def test_a_device_that_nothing_is_known_of_has_no_floor_and_says_so() -> None:
    floor = floor_of(plan(), 1e12, facts_of(described("Other")))
    assert floor.seconds is None
    assert "unknown" in floor.reason
    assert below_floor(summarise([Reading(host=1e-9, device=1e-9)]), floor, "case") == []


@pytest.mark.parametrize(("seconds", "rules"), [(0.9e-3, ["THR-BELOW-ROOFLINE"]), (1.1e-3, [])])
def test_a_time_below_the_floor_is_rejected(seconds: float, rules: list[str]) -> None:
    timing = summarise([Reading(host=seconds, device=seconds)] * 7)
    found = below_floor(timing, floor_of(plan(), 1e12, FACTS), "case")
    assert [finding.rule for finding in found] == rules


def test_slugs_are_file_names() -> None:
    assert slug_of("NVIDIA H100 80GB HBM3") == "nvidia-h100-80gb-hbm3"
    assert slug_of("../..") == "device"
