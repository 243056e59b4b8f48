"""The device that is not there: what Triton's driver and torch.cuda would say about it."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import torch

from verify.triton_cpu.compiler.targets import FACTS
from verify.triton_cpu.private import GPUTarget


@dataclass(frozen=True, kw_only=True)
class Device:
    """What host code asks about a device before it launches. Sizes are in bytes, clocks in kHz.

    `capability` is (major, minor) of torch.cuda.get_device_capability.
    """

    name: str
    target: GPUTarget
    capability: tuple[int, int]
    multiprocessors: int
    shared_per_block: int
    shared_per_multiprocessor: int
    threads_per_multiprocessor: int
    memory: int
    l2: int
    clock: int
    memory_clock: int
    bus_bits: int
    registers: int = 65536


H100 = Device(
    name="NVIDIA H100 80GB HBM3",
    target=GPUTarget("cuda", 90, 32),
    capability=(9, 0),
    multiprocessors=132,
    shared_per_block=FACTS["sm_90"].shared_block_bytes,
    shared_per_multiprocessor=FACTS["sm_90"].shared_bytes,
    threads_per_multiprocessor=FACTS["sm_90"].warps * FACTS["sm_90"].warp_size,
    memory=80 << 30,
    l2=50 << 20,
    clock=1_980_000,
    memory_clock=2_619_000,
    bus_bits=5120,
)
A100 = Device(
    name="NVIDIA A100-SXM4-80GB",
    target=GPUTarget("cuda", 80, 32),
    capability=(8, 0),
    multiprocessors=108,
    shared_per_block=FACTS["sm_80"].shared_block_bytes,
    shared_per_multiprocessor=FACTS["sm_80"].shared_bytes,
    threads_per_multiprocessor=FACTS["sm_80"].warps * FACTS["sm_80"].warp_size,
    memory=80 << 30,
    l2=40 << 20,
    clock=1_410_000,
    memory_clock=1_593_000,
    bus_bits=5120,
)


def _refuse(what: str) -> NoReturn:
    raise RuntimeError(
        f"expected no {what}: kernels run in an interpreter here, there is no device. "
        "Give the autotuner a policy instead, and compile with verify.triton_cpu.compiler.compile."
    )


class _Facilities:
    """`driver.utils`: facts, and no way to load code."""

    def __init__(self, device: Device) -> None:
        self._device = device

    def get_device_properties(self, _index: int = 0) -> dict[str, int]:
        device = self._device
        return {
            "max_shared_mem": device.shared_per_block,
            "max_num_regs": device.registers,
            "multiprocessor_count": device.multiprocessors,
            "warpSize": device.target.warp_size,
            "sm_clock_rate": device.clock,
            "mem_clock_rate": device.memory_clock,
            "mem_bus_width": device.bus_bits,
        }

    def load_binary(self, *_arguments: Any) -> NoReturn:
        _refuse("loading of a compiled kernel")


class Driver:
    """Triton's driver of a device that only answers questions: one device, index 0, and its stream 0."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self.utils = _Facilities(device)

    @staticmethod
    def is_active() -> bool:
        return True

    def get_current_target(self) -> GPUTarget:
        return self._device.target

    def get_current_device(self) -> int:
        return 0

    def set_current_device(self, _index: int) -> None:
        """There is one."""

    def get_current_stream(self, _index: int = 0) -> int:
        return 0

    def get_device_interface(self) -> Any:
        return torch.cuda

    def get_active_torch_device(self) -> torch.device:
        return torch.device("cpu")

    def get_device_capability(self, _index: int = 0) -> tuple[int, int]:
        return self._device.capability

    def map_python_to_cpp_type(self, kind: str) -> str:
        return kind

    def get_benchmarker(self) -> NoReturn:
        _refuse("timing of kernels")

    def get_empty_cache_for_benchmark(self) -> NoReturn:
        _refuse("timing of kernels")


def torch_properties(device: Device) -> types.SimpleNamespace:
    """What torch.cuda.get_device_properties returns for it."""
    facts: Mapping[str, Any] = {
        "name": device.name,
        "major": device.capability[0],
        "minor": device.capability[1],
        "total_memory": device.memory,
        "multi_processor_count": device.multiprocessors,
        "warp_size": device.target.warp_size,
        "regs_per_multiprocessor": device.registers,
        "shared_memory_per_block": 49_152,
        "shared_memory_per_block_optin": device.shared_per_block,
        "shared_memory_per_multiprocessor": device.shared_per_multiprocessor,
        "max_threads_per_multi_processor": device.threads_per_multiprocessor,
        "L2_cache_size": device.l2,
        "gcnArchName": device.target.arch if device.target.backend == "hip" else "",
        "is_integrated": 0,
    }
    return types.SimpleNamespace(**facts)
