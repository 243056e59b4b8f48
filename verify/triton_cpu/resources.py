"""Registers, stack, spills and shared memory of a compiled kernel, and what a block may use on each
target.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import triton

Target = Literal["sm_80", "sm_90", "sm_100", "gfx942"]
TARGETS: tuple[Target, ...] = ("sm_80", "sm_90", "sm_100", "gfx942")

SHARED_LIMIT_BYTES: dict[Target, int] = {
    "sm_80": 166_912,
    "sm_90": 232_448,
    "sm_100": 232_448,
    "gfx942": 65_536,
}
"""Shared memory (LDS on gfx942) that one block can have."""

_TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
_TOOL_SECONDS = 60


@dataclass(frozen=True, kw_only=True)
class Resources:
    """Per thread: `registers`, `stack_bytes` (local memory), `spill_bytes` (stored there for want of
    registers).
    """

    registers: int
    stack_bytes: int
    spill_bytes: int


class ToolError(Exception):
    """A disassembler that did not answer as expected."""


def tool_paths() -> tuple[Path, ...]:
    """Executables that compiling and measuring run; a confined process must be allowed to execute these."""
    names = ("ptxas", "ptxas-blackwell", "cuobjdump")
    return tuple(path for name in names if (path := _TOOLS / name).exists())


def _run(command: list[str]) -> str:
    done = subprocess.run(  # noqa: S603  # our own tool paths, no shell
        command, capture_output=True, text=True, timeout=_TOOL_SECONDS, check=False, env={}
    )
    if done.returncode != 0:
        raise ToolError(
            f"expected {Path(command[0]).name} to succeed, got {done.returncode}: {done.stderr[-300:]}"
        )
    return done.stdout + done.stderr


def nvidia_resources(cubin: bytes, ptx: str, target: Target) -> Resources:
    """Read from the cubin; spills are asked of ptxas only where there is a stack. Raises ToolError."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        text = _run([str(_TOOLS / "cuobjdump"), "-res-usage", file.name])
    found = re.findall(r"REG:(\d+) STACK:(\d+)", text)
    if not found:
        raise ToolError(f"expected REG and STACK from cuobjdump, got {text[-300:]!r}")
    registers, stack = max(int(reg) for reg, _ in found), max(int(depth) for _, depth in found)
    return Resources(registers=registers, stack_bytes=stack, spill_bytes=_spills(ptx, target) if stack else 0)


def _spills(ptx: str, target: Target) -> int:
    architecture = re.search(r"^\.target\s+(\w+)", ptx, re.MULTILINE)
    tool = _TOOLS / (
        "ptxas-blackwell" if target == "sm_100" and (_TOOLS / "ptxas-blackwell").exists() else "ptxas"
    )
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "kernel.ptx"
        source.write_text(ptx, encoding="utf-8")
        name = architecture.group(1) if architecture else target
        text = _run(
            [str(tool), "-v", f"--gpu-name={name}", str(source), "-o", str(Path(folder) / "kernel.cubin")]
        )
    return max((int(n) for n in re.findall(r"(\d+) bytes spill stores", text)), default=0)


def amd_resources(assembly: str) -> Resources:
    """Read from the metadata at the end of AMD assembly; a spilled register is four bytes of a lane."""

    def number(key: str) -> int:
        found = re.search(rf"\.{key}:?\s+(\d+)", assembly)
        if found is None:
            raise ToolError(f"expected .{key} in the assembly's metadata, got none")
        return int(found.group(1))

    return Resources(
        registers=number("vgpr_count"),
        stack_bytes=number("private_segment_fixed_size"),
        spill_bytes=4 * number("vgpr_spill_count"),
    )


def over_limits(target: Target, shared_bytes: int) -> str | None:
    """Why a block does not fit on the target, or None."""
    limit = SHARED_LIMIT_BYTES[target]
    if shared_bytes <= limit:
        return None
    return f"expected at most {limit} bytes of shared memory a block on {target}, got {shared_bytes}"
