"""Compile the exact specialisation of a launch for a target that need not be here, with Triton's own
compiler.
"""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from verify.triton_cpu import private
from verify.triton_cpu.compiler.census import amd_census
from verify.triton_cpu.compiler.program import amd_tensor_units, dots, index_widths, tensor_units
from verify.triton_cpu.compiler.report import MESSAGE_CHARACTERS, CompileReport
from verify.triton_cpu.compiler.resources import (
    ToolError,
    amd_resources,
    disassembled_census,
    machine_code,
    ptxas_resources,
)
from verify.triton_cpu.compiler.targets import Target
from verify.triton_cpu.interpreter.handles import TYPES
from verify.triton_cpu.interpreter.launch import PointerArg
from verify.triton_cpu.private import GPUTarget, JITFunction

__all__ = ["CompileArgument", "CompilePointer", "CompileReport", "compile_code", "compile_launch"]

_GPU: dict[Target, GPUTarget] = {
    "sm_80": GPUTarget("cuda", 80, 32),
    "sm_90": GPUTarget("cuda", 90, 32),
    "sm_100": GPUTarget("cuda", 100, 32),
    "gfx942": GPUTarget("hip", "gfx942", 64),
}
_TORCH: dict[str, torch.dtype] = {
    "bool": torch.bool,
    "int1": torch.bool,
    "float8e4nv": torch.float8_e4m3fn,
    "float8e5": torch.float8_e5m2,
}


@dataclass(frozen=True, kw_only=True)
class CompilePointer:
    """A pointer argument as the compiler sees it: element type, and whether the address is a multiple of
    16.
    """

    dtype: str
    divisible16: bool = True


CompileArgument = CompilePointer | PointerArg | int | float | bool | str | None


class _Tensor:
    """Enough of a tensor for Triton's binder."""

    def __init__(self, dtype: torch.dtype, divisible: bool) -> None:
        self.dtype = dtype
        self._address = 16 if divisible else 8

    def data_ptr(self) -> int:
        return self._address

    def ptr_range(self) -> int:
        """Bytes behind the pointer: under 2 GiB, as Triton assumes of a tensor it can measure."""
        return 0


class _Driver:
    """A device that can be compiled for, and nothing more."""

    def __init__(self, target: GPUTarget) -> None:
        self._target = target

    def get_current_target(self) -> GPUTarget:
        return self._target

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, _device: int = 0) -> int:
        return 0

    def get_active_torch_device(self) -> torch.device:
        return torch.device("cpu")


@contextlib.contextmanager
def _compiling_for(target: Target, scratch: str | None) -> Iterator[io.StringIO]:
    """Triton's driver, cache and temporary files, all put back on the way out.

    What the compiler prints goes into the buffer: a kernel's `static_print`, then the assembler's log.
    """
    folder = scratch or os.environ.get("TRITON_CACHE_DIR")
    old_driver, old_temporary = private.swap_driver(_Driver(_GPU[target])), tempfile.tempdir
    old_cache = private.set_cache_directory(folder) if folder else None
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        tempfile.tempdir = folder
    printed = io.StringIO()
    # LLVM's code is the same without line numbers. NVIDIA's assembler takes other registers on sm_100.
    assembling = private.assembling(line_numbers=target != "gfx942")
    try:
        with assembling, contextlib.redirect_stdout(printed), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield printed
    finally:
        private.swap_driver(old_driver)
        tempfile.tempdir = old_temporary
        if old_cache is not None:
            private.set_cache_directory(old_cache)


def _argument(value: Any) -> Any:
    """A value as the binder takes it; what is neither a pointer nor a name passes as it is."""
    if isinstance(value, tuple):
        return tuple(_argument(part) for part in value)
    if hasattr(value, "block_shape") and hasattr(value, "base"):  # a recorded host-side descriptor
        base = _Tensor(value.base.dtype, divisible=True)
        return private.descriptor(base, value.shape, value.strides, value.block_shape, value.padding)
    if isinstance(value, (CompilePointer, PointerArg)):
        divisible = value.divisible16 if isinstance(value, CompilePointer) else value.address % 16 == 0
        return _Tensor(_TORCH.get(value.dtype) or getattr(torch, value.dtype), divisible)
    if isinstance(value, str):
        return TYPES.get(value.removeprefix("tl."), value)
    return value


def _explain(error: BaseException) -> str:
    parts: list[str] = []
    current: BaseException | None = error
    while current is not None:
        text = f"{type(current).__name__}: {current}".strip()
        if text not in parts:
            parts.append(text)
        current = current.__cause__
    return " <- ".join(parts)[-MESSAGE_CHARACTERS:]


def compile_launch(
    kernel: JITFunction,
    arguments: Mapping[str, CompileArgument | Any],
    *,
    num_warps: int | None,
    num_stages: int | None,
    target: Target,
    options: Mapping[str, Any] | None = None,
    scratch: str | None = None,
    census: bool = False,
) -> CompileReport:
    """`compile_code`, where `census` counts the instructions of this one kernel (NVIDIA: 0.3 s)."""
    report, code = compile_code(
        kernel,
        arguments,
        num_warps=num_warps,
        num_stages=num_stages,
        target=target,
        options=options,
        scratch=scratch,
        census=census,
    )
    return replace(report, census=disassembled_census([code], target)[0]) if code else report


def compile_code(
    kernel: JITFunction,
    arguments: Mapping[str, CompileArgument | Any],
    *,
    num_warps: int | None,
    num_stages: int | None,
    target: Target,
    options: Mapping[str, Any] | None = None,
    scratch: str | None = None,
    census: bool = False,
) -> tuple[CompileReport, bytes]:
    """Compile one launch's specialisation; a compiler's refusal is the report's `error`, never an exception.

    Integers equal to 1 or divisible by 16 and pointer alignment specialise as Triton's binder decides. What a
    recorded launch holds beside `CompileArgument` is taken too: tuples, types and functions as constexprs,
    descriptors (with `base`, `shape`, `strides`, `block_shape`, `padding`).
    `num_warps` and `num_stages` of None are the compiler's own; `options` are the other launch options
    (num_ctas, maxnreg, waves_per_eu, ...): a target ignores, and the report names, those that it does not
    know. With `census`, gfx942's instructions are counted, and the machine code of other targets is the
    second result, for `resources.disassembled_census` to count with other kernels'; else that is empty.
    `scratch` (default: $TRITON_CACHE_DIR) holds the compiled cache and all temporary files; nothing else is
    written. Raises ToolError where an assembler of the Triton wheel does not answer.
    """
    started = time.perf_counter()
    known = private.compile_options(_GPU[target])
    wanted = {name: value for name, value in (options or {}).items() if value is not None}
    kept = {name: value for name, value in wanted.items() if name in known}
    chosen = {"num_warps": num_warps, "num_stages": num_stages}
    chosen = {name: value for name, value in chosen.items() if value is not None}
    found: dict[str, Any] = {}
    code = b""
    with _compiling_for(target, scratch) as printed:
        private.clear_compiled(kernel)
        try:
            values = {key: _argument(value) for key, value in arguments.items()}
            compiled = kernel.warmup(grid=(1, 1, 1), **chosen, **kept, **values)
            found = _measure(compiled, target, printed.getvalue(), census=census)
            if census and target != "gfx942":
                code = machine_code(compiled.asm["cubin"])
        except (ToolError, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001  # whatever a compiler says about a candidate is a value here
            found = {"error": _explain(error)}
        finally:
            private.clear_compiled(kernel)
    found = {"num_warps": num_warps or 4, "num_stages": num_stages or 0} | found
    report = CompileReport(
        kernel=private.captured_source(kernel).__name__,
        target=target,
        options={name: _plain(value) for name, value in sorted(kept.items())},
        ignored=tuple(sorted(set(wanted) - known)),
        seconds=time.perf_counter() - started,
        **found,
    )
    return report, code


def _measure(compiled: Any, target: Target, printed: str, *, census: bool) -> dict[str, Any]:
    """What a compiled kernel needs and holds, as fields of a report."""
    text, metadata = compiled.asm, compiled.metadata
    if target == "gfx942":
        assembly = text["amdgcn"]
        resources, units = amd_resources(assembly), amd_tensor_units(assembly)
        counts = amd_census(assembly) if census else None
    else:
        resources, units, counts = ptxas_resources(printed), tensor_units(text["ptx"]), None
    return {
        "num_warps": int(metadata.num_warps),
        "num_stages": int(metadata.num_stages),
        "shared_bytes": int(metadata.shared),
        "tensor_columns": int(getattr(metadata, "tmem_size", None) or 0),
        "registers": resources.registers,
        "stack_bytes": resources.stack_bytes,
        "spill_bytes": resources.spill_bytes,
        "warnings": resources.warnings,
        "dots": dots(text["ttir"]),
        "index": index_widths(text["ttir"]),
        "tensor_units": units,
        "census": counts,
    }


def _plain(value: Any) -> int | str | bool:
    """An option as JSON can hold it."""
    return value if isinstance(value, int | str) else str(value)
