"""compute-sanitizer where it is present: one run of a plan under its memory checker.

Guard zones see writes beside a buffer; the checker sees reads too, and says which kernel and line it was.
The program under it is `verify.device.replay`, in which every buffer is an allocation of its own.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

SECONDS = 240.0
PRINTED = 20
"""Errors that it describes; it counts all of them."""

_BOOTSTRAP = (
    "import sys; root = sys.argv[1]; sys.path.insert(0, root); import verify; sys.path.remove(root); "
    "from verify.device.replay import main; main(sys.argv[2])"
)
_INVALID = re.compile(r"^=========\s+(?:Invalid|Out-of-range).*?\b(read|write|atomic)\b.*$", re.IGNORECASE)
_PLACE = re.compile(
    r"^=========\s+at (?:0x[0-9a-f]+ in )?(?P<kernel>\w+)?.*?(?::(?P<line>\d+))?(?::\w+)?\s*$"
)
_SUMMARY = re.compile(r"^=========\s+ERROR SUMMARY: (\d+) error")


class SanitizerError(RuntimeError):
    """It could not run, or said nothing that can be read: no statement about the kernels."""


@dataclass(frozen=True, kw_only=True)
class Access:
    """One invalid access; `line` is 0 where the checker did not give it."""

    what: str
    kernel: str
    line: int


def find() -> str | None:
    """The program's path: on PATH, or where the CUDA toolkit is."""
    toolkits = (os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda")
    places = [f"{folder}/bin" for folder in toolkits if folder]
    return shutil.which("compute-sanitizer") or shutil.which("compute-sanitizer", path=":".join(places))


def memcheck(tool: str, job: Mapping[str, Any], blobs: Sequence[bytes | memoryview]) -> list[Access]:
    """Run the plan of `job` (source, plan, kernels, device) once; `blobs` are its arguments in plan order.

    Raises SanitizerError where there is no answer.
    """
    root = str(Path(__file__).resolve().parents[2])
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "job.json").write_text(json.dumps(job), encoding="utf-8")
        for number, blob in enumerate(blobs):
            Path(folder, f"argument{number}").write_bytes(blob)
        log = Path(folder, "log")
        command = [tool, "--tool", "memcheck", "--log-file", str(log), "--print-limit", str(PRINTED)]
        command += [sys.executable, "-P", "-c", _BOOTSTRAP, root, folder]
        environment = {**os.environ, "PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
        try:
            done = subprocess.run(  # noqa: S603  the toolkit's program on our own module
                command, env=environment, capture_output=True, text=True, check=False, timeout=SECONDS
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise SanitizerError(f"compute-sanitizer gave no answer: {error}") from None
        text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    count, found = parse(text)
    if count is None or (count == 0 and done.returncode != 0) or (count and not found):
        tail = (text or done.stderr).strip()[-500:]
        raise SanitizerError(f"compute-sanitizer ended with {done.returncode} and no clear answer: {tail}")
    return found


def parse(text: str) -> tuple[int | None, list[Access]]:
    """(number of errors, None where it is missing; the invalid accesses that are described)."""
    count: int | None = None
    found: list[Access] = []
    lines = text.splitlines()
    for position, line in enumerate(lines):
        summary = _SUMMARY.match(line)
        if summary:
            count = int(summary.group(1))
        invalid = _INVALID.match(line)
        if invalid is None:
            continue
        place = _PLACE.match(lines[position + 1]) if position + 1 < len(lines) else None
        kernel = place.group("kernel") if place else None
        at = place.group("line") if place else None
        found.append(
            Access(what=invalid.group(1).lower(), kernel=kernel or "a kernel", line=int(at) if at else 0)
        )
    return count, list(dict.fromkeys(found))


def to_json(found: Sequence[Access]) -> list[dict[str, Any]]:
    """As the role `device` answers."""
    return [asdict(access) for access in found]
