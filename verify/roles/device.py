"""Role `device`: run launch plans on a CUDA device, as role `execute` does in the interpreter.

The worker drives a GPU and is confined less than the others (profile "device"), so no candidate Python runs
here: kernels are loaded from text that parsed to the allowed subset, and plans are data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch

from verify.device import sanitizer
from verify.device.execution import DeviceExecutor
from verify.device.hardware import describe, faults, probe
from verify.plan.format import Plan
from verify.source.static import blank_out
from verify.triton_cpu.interpreter.launch import load_kernels

DEVICE = "cuda:0"


class Handler:
    """Executes plans of one mechanism on `device`; `kernels` are those of its `source`."""

    def __init__(self, source: bytes, kernels: Mapping[str, Any], device: str) -> None:
        self._executor = DeviceExecutor(kernels, device)
        self._source, self._device = source, device

    def handle(
        self, method: str, header: Mapping[str, Any], blobs: Sequence[bytes | memoryview]
    ) -> tuple[dict[str, Any], list[bytes]]:
        """`run`: as in role `execute`. `describe`: no arguments -> what device this is, once a kernel of ours
        has run on it. `memcheck`: a plan and its arguments, as for `run` -> invalid accesses, as
        compute-sanitizer sees them.
        """
        if method == "describe":
            found = describe(self._device)
            probe(self._device)
            return {**found, "sanitizer": sanitizer.find()}, []
        if method == "memcheck":
            return self._memcheck(header, blobs), []
        if method != "run":
            raise ValueError(f"role device: expected run, memcheck or describe, got {method}")
        declared = header["plan"]["buffers"]
        names = [buffer["argument"] for buffer in declared if buffer["argument"] is not None]
        arguments = dict(zip(names, blobs, strict=True))
        plan = Plan.from_json(
            header["plan"],
            kernels=header["kernels"],
            arguments={name: len(blob) for name, blob in arguments.items()},
        )
        with faults():
            done = self._executor.run(
                plan,
                arguments,
                (tuple(header["state"]), tuple(header["gradients"])),
                poison=header["poison"],
                omit=header["way"].get("omit"),
            )
        results = sorted(done.results)
        answer = {
            "results": results,
            "uncovered": done.uncovered,
            "changed": list(done.changed),
            "guards": list(done.guards),
            "events": [asdict(event) for event in done.events],
            "counters": done.counters,
        }
        return answer, [done.results[name] for name in results]

    def _memcheck(self, header: Mapping[str, Any], blobs: Sequence[bytes | memoryview]) -> dict[str, Any]:
        tool = sanitizer.find()
        assert tool is not None, "the judge asks where `describe` named it"
        job = {
            "source": self._source.decode(),
            "plan": header["plan"],
            "kernels": header["kernels"],
            "device": self._device,
        }
        try:
            return {"accesses": sanitizer.to_json(sanitizer.memcheck(tool, job, blobs)), "problem": None}
        except sanitizer.SanitizerError as error:
            return {"accesses": [], "problem": str(error)}


def kernels_of(source: bytes) -> dict[str, Any]:
    """The `triton.jit` functions of a mechanism, by name."""
    return load_kernels(blank_out(source.decode(), keep="kernels"), "<mechanism>") if source else {}


def open(source: bytes) -> Handler:
    torch.set_grad_enabled(False)
    return Handler(source, kernels_of(source), DEVICE)
