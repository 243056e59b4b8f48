"""Registers, stack and spills of a compiled kernel, from what its assembler says, and its disassembly."""

from __future__ import annotations

import re
import struct
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import triton

from verify.triton_cpu.compiler.census import sass_census
from verify.triton_cpu.compiler.targets import Target

_TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
_TOOL_SECONDS = 60
_MOST_WARNINGS, _WARNING_CHARACTERS = 8, 400
_MACHINES: Mapping[Target, str] = {"sm_80": "SM80", "sm_90": "SM90a", "sm_100": "SM100a"}
"""What Triton assembles for, as the disassembler names it."""
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
    """Read from what `ptxas -v` says; the last kernel counts, as a kernel can print too. Raises ToolError.

    Functions that a kernel calls have frames of their own: the deepest one is the stack, their spills add up.
    """
    start = log.rfind("Compiling entry function")
    used = re.search(r"Used (\d+) registers", log[start:]) if start >= 0 else None
    if used is None:
        raise ToolError(f"expected ptxas to say how many registers are used, got {log[-300:]!r}")
    warned = _WARNING.findall(log)
    frames = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores", log[start:])
    return Resources(
        registers=int(used[1]),
        stack_bytes=max((int(depth) for depth, _ in frames), default=0),
        spill_bytes=sum(int(spilled) for _, spilled in frames),
        warnings=tuple(dict.fromkeys(text.strip()[:_WARNING_CHARACTERS] for text in warned[:_MOST_WARNINGS])),
    )


def machine_code(cubin: bytes) -> bytes:
    """The instructions of a kernel and of what it calls: the .text sections of an ELF file (64 bit, little
    endian). Raises ToolError.
    """
    try:
        (table,) = struct.unpack_from("<Q", cubin, 0x28)
        size, count, names = struct.unpack_from("<HHH", cubin, 0x3A)
        headers = [struct.unpack_from("<IIQQQQ", cubin, table + at * size) for at in range(count)]
        strings = headers[names][4]
        code = b""
        for name, _, _, _, offset, length in headers:
            start = strings + name
            if cubin[start : cubin.index(b"\0", start)].startswith(b".text."):
                code += cubin[offset : offset + length]
    except (struct.error, IndexError, ValueError) as error:
        raise ToolError(f"expected an ELF file from the assembler, got {error}") from None
    return code


def disassembled_census(codes: Sequence[bytes], target: Target) -> list[dict[str, dict[str, int]]]:
    """The census of each kernel's machine code, in one run of nvdisasm. Raises ToolError.

    Most of a run is its start (0.2 to 0.3 s, by target), so kernels go through it behind one another; without
    its data-flow analysis, which only names the targets of branches.
    """
    if not codes:
        return []
    with tempfile.NamedTemporaryFile(suffix=".bin") as file:
        file.write(b"".join(codes))
        file.flush()
        text = _run([str(_TOOLS / "nvdisasm"), "-b", _MACHINES[target], "-ndf", file.name])
    return sass_census(text, [len(code) for code in codes])


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
