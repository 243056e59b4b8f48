"""Registers, stack and spills of a compiled kernel, from what its assembler says, and its disassembly."""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import triton

from verify.triton_cpu.targets import Target

_TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
_TOOL_SECONDS = 60
_WARNING = re.compile(r"^ptxas (?:warning\s*: |info\s*: (?=\(C\d+\)))(.*)$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Resources:
    """Per thread: `registers`, `stack_bytes` (local memory), `spill_bytes` (stored there for want of
    registers). `warnings` are the assembler's.
    """

    registers: int
    stack_bytes: int
    spill_bytes: int
    warnings: tuple[str, ...] = ()


class ToolError(Exception):
    """An assembler or disassembler that did not answer as expected."""


def ptxas_resources(log: str) -> Resources:
    """Read from what `ptxas -v` says; the last kernel counts. Raises ToolError.

    Functions that a kernel calls have frames of their own: the deepest one is the stack, their spills add up.
    """
    start = log.rfind("Compiling entry function")
    used = re.search(r"Used (\d+) registers", log[start:]) if start >= 0 else None
    if used is None:
        raise ToolError(f"expected ptxas to say how many registers are used, got {log[-300:]!r}")
    frames = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores", log[start:])
    return Resources(
        registers=int(used[1]),
        stack_bytes=max((int(depth) for depth, _ in frames), default=0),
        spill_bytes=sum(int(spilled) for _, spilled in frames),
        warnings=tuple(dict.fromkeys(text.strip() for text in _WARNING.findall(log))),
    )


def run_ptxas(ptx: str, target: Target) -> str:
    """What `ptxas -v` says about a program, for a compiler that did not pass it on. Raises ToolError."""
    architecture = re.search(r"^\.target\s+(\w+)", ptx, re.MULTILINE)
    newer = _TOOLS / "ptxas-blackwell"
    tool = newer if target == "sm_100" and newer.exists() else _TOOLS / "ptxas"
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "kernel.ptx"
        source.write_text(ptx, encoding="utf-8")
        name = architecture.group(1) if architecture else target
        return _run([str(tool), "-v", f"--gpu-name={name}", str(source), "-o", f"{folder}/kernel.cubin"])


def disassemble(cubin: bytes) -> str:
    """The machine code of a kernel as `nvdisasm -c` prints it. Raises ToolError.

    Without its data-flow analysis, which only names the targets of branches and takes a quarter of the time.
    """
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        return _run([str(_TOOLS / "nvdisasm"), "-c", "-ndf", file.name])


def amd_resources(assembly: str) -> Resources:
    """Read from the metadata at the end of AMD assembly; a spilled register is four bytes of a lane.

    Vector registers count both kinds, as they share one file. Raises ToolError.
    """

    def number(key: str) -> int:
        found = re.findall(rf"\.{key}:?\s+(\d+)", assembly)
        if not found:
            raise ToolError(f"expected .{key} in the assembly's metadata, got none")
        return int(found[-1])

    return Resources(
        registers=number("vgpr_count"),
        stack_bytes=number("private_segment_fixed_size"),
        spill_bytes=4 * number("vgpr_spill_count"),
    )


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(  # noqa: S603  # our own tool paths, no shell
            command, capture_output=True, text=True, timeout=_TOOL_SECONDS, check=False, env={}
        )
    except subprocess.TimeoutExpired:
        raise ToolError(
            f"expected {Path(command[0]).name} to answer within {_TOOL_SECONDS} s, got nothing"
        ) from None
    if done.returncode != 0:
        raise ToolError(
            f"expected {Path(command[0]).name} to succeed, got {done.returncode}: {done.stderr[-300:]}"
        )
    return done.stdout + done.stderr
