"""Roles of a device that is not there: the real handlers, with kernels in the interpreter on CPU tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tests.verify.device.on_cpu import OnCpu
from verify.device.timed import KernelForm, Sets, TimedHandler
from verify.plan.format import Plan
from verify.roles.device import Handler, kernels_of
from verify.triton_cpu.interpreter.launch import language

DESCRIBED = {
    "name": "Stand-in",
    "slug": "stand-in",
    "l2_bytes": None,
    "bus_bits": None,
    "memory_hertz": None,
    "sanitizer": None,
}


def on_cpu(source: bytes) -> dict[str, Any]:
    return {name: OnCpu(kernel) for name, kernel in kernels_of(source).items()}


class StandIn(Handler):
    """Role `device`."""

    def handle(
        self, method: str, header: Mapping[str, Any], blobs: Sequence[bytes | memoryview]
    ) -> tuple[dict[str, Any], list[bytes]]:
        return (DESCRIBED, []) if method == "describe" else super().handle(method, header, blobs)


def open(source: bytes) -> StandIn:
    return StandIn(source, on_cpu(source), "cpu")


def kernel_form(kernels: Mapping[str, Any]) -> Any:
    def make(header: Mapping[str, Any], sets: Sets) -> KernelForm:
        declared = header["plan"]["buffers"]
        arguments = {one["argument"]: one["nbytes"] for one in declared if one["argument"] is not None}
        plan = Plan.from_json(header["plan"], kernels=header["kernels"], arguments=arguments)
        return KernelForm(plan, (header["state"], header["gradients"]), kernels, sets)

    return make


def timing(source: bytes) -> TimedHandler:
    return TimedHandler("cpu", {"kernels": kernel_form(on_cpu(source))})


language()
