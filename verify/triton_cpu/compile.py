"""Compile the exact specialisation of a launch for a target that need not be here, with Triton's own
compiler.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from verify.triton_cpu import private
from verify.triton_cpu.handles import TYPES
from verify.triton_cpu.launch import PointerArg
from verify.triton_cpu.private import GPUTarget, JITFunction
from verify.triton_cpu.resources import Resources, Target, ToolError, amd_resources, nvidia_resources

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
_MESSAGE_CHARACTERS = 2000


@dataclass(frozen=True, kw_only=True)
class CompilePointer:
    """A pointer argument as the compiler sees it: element type, and whether the address is a multiple of
    16.
    """

    dtype: str
    divisible16: bool = True


CompileArgument = CompilePointer | PointerArg | int | float | bool | str | None


@dataclass(frozen=True, kw_only=True)
class CompileReport:
    """One kernel on one target. `error` is None where it compiled; the numbers are 0 where it did not.

    Bytes of `shared_bytes` are per block, `stack_bytes` and `spill_bytes` per thread. `dot_precision` holds
    the input precision of every dot with float32 operands ("ieee", "tf32", ...); it is empty where there is
    none.
    """

    kernel: str
    target: Target
    num_warps: int
    num_stages: int
    shared_bytes: int = 0
    registers: int = 0
    stack_bytes: int = 0
    spill_bytes: int = 0
    dot_precision: frozenset[str] = frozenset()
    seconds: float = 0.0
    error: str | None = None


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
def _compiling_for(target: Target, scratch: str | None) -> Iterator[None]:
    """Triton's driver, cache and temporary files, all put back on the way out; compiler prints go nowhere."""
    folder = scratch or os.environ.get("TRITON_CACHE_DIR")
    old_driver, old_temporary = private.swap_driver(_Driver(_GPU[target])), tempfile.tempdir
    old_cache = private.set_cache_directory(folder) if folder else None
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        tempfile.tempdir = folder
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        private.swap_driver(old_driver)
        tempfile.tempdir = old_temporary
        if old_cache is not None:
            private.set_cache_directory(old_cache)


def _argument(value: CompileArgument) -> Any:
    if isinstance(value, (CompilePointer, PointerArg)):
        divisible = value.divisible16 if isinstance(value, CompilePointer) else value.address % 16 == 0
        return _Tensor(_TORCH.get(value.dtype) or getattr(torch, value.dtype), divisible)
    if isinstance(value, str):
        return TYPES.get(value.removeprefix("tl."), value)
    return value


def _float32_dot_precision(ttir: str) -> frozenset[str]:
    found = set()
    for line in ttir.splitlines():
        if "tt.dot " in line and re.search(r":\s*tensor<[\dx]*xf32>\s*\*", line):
            named = re.search(r"inputPrecision\s*=\s*(\w+)", line)
            found.add(named.group(1).lower() if named else "ieee")
    return frozenset(found)


def _explain(error: BaseException) -> str:
    parts: list[str] = []
    current: BaseException | None = error
    while current is not None:
        text = f"{type(current).__name__}: {current}".strip()
        if text not in parts:
            parts.append(text)
        current = current.__cause__
    return " <- ".join(parts)[-_MESSAGE_CHARACTERS:]


def compile_launch(
    kernel: JITFunction,
    arguments: Mapping[str, CompileArgument],
    *,
    num_warps: int,
    num_stages: int,
    target: Target,
    scratch: str | None = None,
) -> CompileReport:
    """Compile one launch's specialisation; a compiler's refusal is the report's `error`, never an exception.

    Integers equal to 1 or divisible by 16 and pointer alignment specialise as Triton's binder decides.
    `scratch` (default: $TRITON_CACHE_DIR) holds the compiled cache and all temporary files; nothing else is
    written.
    """
    started = time.perf_counter()
    name = private.captured_source(kernel).__name__

    def report(
        resources: Resources | None, shared: int, precision: frozenset[str], error: str | None
    ) -> CompileReport:
        got = resources or Resources(registers=0, stack_bytes=0, spill_bytes=0)
        return CompileReport(
            kernel=name,
            target=target,
            num_warps=num_warps,
            num_stages=num_stages,
            shared_bytes=shared,
            registers=got.registers,
            stack_bytes=got.stack_bytes,
            spill_bytes=got.spill_bytes,
            dot_precision=precision,
            seconds=time.perf_counter() - started,
            error=error,
        )

    with _compiling_for(target, scratch):
        private.clear_compiled(kernel)
        try:
            values = {key: _argument(value) for key, value in arguments.items()}
            compiled = kernel.warmup(grid=(1, 1, 1), num_warps=num_warps, num_stages=num_stages, **values)
            shared, text = int(compiled.metadata.shared), compiled.asm
            if target == "gfx942":
                resources = amd_resources(text["amdgcn"])
            else:
                resources = nvidia_resources(text["cubin"], text["ptx"], target)
            return report(resources, shared, _float32_dot_precision(text["ttir"]), None)
        except (ToolError, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001  # whatever a compiler says about a candidate is a value here
            return report(None, 0, frozenset(), _explain(error))
        finally:
            private.clear_compiled(kernel)
