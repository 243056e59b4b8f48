"""Role `compile`: compile a plan's launches ahead of time for a target, and report what they need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from verify.plan.format import Argument, DtypeName, Launch, Plan, TensorRef
from verify.source.static import blank_out
from verify.triton_cpu.compile import CompilePointer, CompileReport, compile_launch
from verify.triton_cpu.launch import load_kernels
from verify.triton_cpu.resources import over_limits


class Handler:
    """Compiles the kernels of one mechanism."""

    def __init__(self, source: str) -> None:
        self._kernels = load_kernels(blank_out(source, keep="kernels"), "<mechanism>")

    def handle(
        self, method: str, header: Mapping[str, Any], blobs: Sequence[bytes | memoryview]
    ) -> tuple[dict[str, Any], list[bytes]]:
        """`compile`: {"plan", "kernels", "target"} -> {"reports"}, one per distinct specialisation."""
        if method != "compile" or blobs:
            raise ValueError(f"role compile: expected the method compile without blobs, got {method}")
        declared = header["plan"]["buffers"]
        arguments = {
            buffer["argument"]: buffer["nbytes"] for buffer in declared if buffer["argument"] is not None
        }
        plan = Plan.from_json(header["plan"], kernels=header["kernels"], arguments=arguments)
        reports = []
        for launch in distinct(plan.launches):
            report = compile_launch(
                self._kernels[launch.kernel],
                {name: _argument(value) for name, value in launch.arguments},
                num_warps=launch.num_warps,
                num_stages=launch.num_stages,
                target=header["target"],
            )
            reports.append(_to_json(report, launch.line))
        return {"reports": reports}, []


def distinct(launches: Sequence[Launch]) -> list[Launch]:
    """One launch of each specialisation: same kernel, same argument types and numbers, same options."""
    found: dict[Any, Launch] = {}
    for launch in launches:
        key = (
            launch.kernel,
            launch.num_warps,
            launch.num_stages,
            tuple((name, _argument(value)) for name, value in launch.arguments),
        )
        found.setdefault(key, launch)
    return list(found.values())


def _to_json(report: CompileReport, line: int) -> dict[str, Any]:
    return {
        **asdict(report),
        "dot_precision": sorted(report.dot_precision),
        "line": line,
        "over_limits": over_limits(report.target, report.shared_bytes),
    }


def _argument(value: Argument) -> CompilePointer | int | float | bool | str | None:
    if isinstance(value, TensorRef):
        return CompilePointer(dtype=value.dtype, divisible16=value.offset * value.itemsize % 16 == 0)
    return value.name if isinstance(value, DtypeName) else value


def open(source: bytes) -> Handler:
    return Handler(source.decode())
