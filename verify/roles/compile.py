"""Role `compile`: compile one specialisation of a mechanism's kernels for one target, and report what it
needs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from verify.plan.format import DtypeName
from verify.plan.specialise import Pointer, Specialisation, Value
from verify.source.static import blank_out
from verify.triton_cpu import private
from verify.triton_cpu.compiler.compile import CompileArgument, CompilePointer, compile_code
from verify.triton_cpu.compiler.resources import disassembled_census
from verify.triton_cpu.interpreter.launch import load_kernels


class Handler:
    """Compiles the kernels of one mechanism."""

    def __init__(self, source: str) -> None:
        private.trust_empty_cache()  # a worker's cache is a folder of its own that was empty when it started
        self._kernels = load_kernels(blank_out(source, keep="kernels"), "<mechanism>")

    def handle(
        self, method: str, header: Mapping[str, Any], blobs: Sequence[bytes | memoryview]
    ) -> tuple[dict[str, Any], list[bytes]]:
        """`compile`: {"launch", "target", "census"} -> {"report"}; see `CompileReport`. With a census wanted,
        an NVIDIA kernel's machine code comes back as a blob; `census`: {"target"} and such blobs ->
        {"censuses"}.
        """
        if method == "census":
            return {"censuses": disassembled_census([bytes(blob) for blob in blobs], header["target"])}, []
        if method != "compile" or blobs:
            raise ValueError(f"role compile: expected the method compile without blobs, got {method}")
        launch = Specialisation.from_json(header["launch"])
        report, code = compile_code(
            self._kernels[launch.kernel],
            {name: _argument(value) for name, value in launch.arguments},
            num_warps=launch.num_warps,
            num_stages=launch.num_stages,
            target=header["target"],
            census=header["census"],
        )
        return {"report": report.to_json()}, [code] if code else []


def _argument(value: Value) -> CompileArgument:
    if isinstance(value, Pointer):
        return CompilePointer(dtype=value.dtype, divisible16=value.divisible16)
    return value.name if isinstance(value, DtypeName) else value


def open(source: bytes) -> Handler:
    return Handler(source.decode())
