"""Run one spec in a child process with limits, and collect what its jobs said, whatever becomes of it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Say = Callable[[str], None]
RESTARTS = 3
"""How often a child that died is started again, after the job that killed it."""

_TAIL = 600


@dataclass(kw_only=True)
class Collected:
    """What a spec's jobs said. `dead` maps the label of a job to how its process ended."""

    described: dict[str, Any] = field(default_factory=dict)
    jobs: list[str] = field(default_factory=list)
    done: list[dict[str, Any]] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    unavailable: str | None = None
    bug: str | None = None
    dead: dict[str, str] = field(default_factory=dict)
    jobs_left_out: set[int] = field(default_factory=set)


def collect(path: Path, *, depth: str, seconds: float, memory_gib: int, say: Say) -> Collected:
    """All jobs of one spec. `seconds` limits each job, `memory_gib` the process's data."""
    found = Collected()
    first = 0
    for _ in range(RESTARTS + 1):
        stopped = _one_child(path, found, depth, first, seconds, memory_gib, say)
        if stopped is None:
            return found
        job, how = stopped
        found.dead[found.jobs[job] if 0 <= job < len(found.jobs) else "loading"] = how
        if job < 0:
            return found
        first = job + 1
        # the same case under another order of programs would end the same way
        again = f"order, {found.jobs[job]}"
        if first < len(found.jobs) and again in found.jobs:
            found.jobs_left_out.add(found.jobs.index(again))
        if all(index in found.jobs_left_out for index in range(first, len(found.jobs))):
            return found
    for label in found.jobs[first:]:
        found.dead.setdefault(label, "not run: too many of the jobs before it ended their process")
    return found


def _one_child(
    path: Path, found: Collected, depth: str, first: int, seconds: float, memory_gib: int, say: Say
) -> tuple[int, str] | None:
    """None where the child came to its end; else the job it was in (-1: none) and what happened."""
    reader, writer = os.pipe()
    with tempfile.TemporaryDirectory(prefix="verify-foreign-") as scratch:
        log = Path(scratch) / "log"
        with log.open("wb") as out:
            command = [sys.executable, "-m", "verify.foreign.child", str(path), "--depth", depth]
            command += ["--without", *(str(index) for index in sorted(found.jobs_left_out))]
            command += ["--first", str(first), "--pipe", str(writer), "--memory", str(memory_gib)]
            child = subprocess.Popen(  # noqa: S603  our own module
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                pass_fds=(writer,),
                start_new_session=True,
                env=library_environment(scratch),
            )
        os.close(writer)
        try:
            job, late = _listen(reader, found, seconds, say)
        finally:
            os.close(reader)
            _end(child)
        if job is None:
            return None
        if late:
            return job, f"no answer within {seconds:g} s"
        tail = log.read_text(errors="replace").strip()[-_TAIL:]
        return job, f"the process ended with code {child.returncode}: {tail}"


def library_environment(scratch: str) -> dict[str, str]:
    """For a process that meets a library: nothing that changes what Triton or the library does, and a scratch
    folder for what they write.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("TRITON_", "FLA_", "LIGER_", "MAMBA_", "TORCHINDUCTOR"))
    }
    threads = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONHASHSEED": "0"}
    return {**kept, **threads, "TMPDIR": scratch, "TRITON_CACHE_DIR": f"{scratch}/triton"}


def _listen(reader: int, found: Collected, seconds: float, say: Say) -> tuple[int | None, bool]:
    """Read events until the end. (None, False): all is said; else the job under way, and whether it was
    late.
    """
    job, pending, deadline = -1, b"", time.monotonic() + seconds
    while True:
        ready, _, _ = select.select([reader], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return job, True
        data = os.read(reader, 1 << 16)
        if not data:
            return job, False
        *lines, pending = (pending + data).split(b"\n")
        for line in lines:
            event = json.loads(line)
            deadline = time.monotonic() + seconds
            if event["event"] == "end":
                return None, False
            if event["event"] == "start":
                job = int(event["job"])
                say(f"  {found.jobs[job]}")
            _take(found, event)


def _take(found: Collected, event: dict[str, Any]) -> None:
    match event.pop("event"):
        case "spec":
            found.jobs = event.pop("jobs")
            found.described = event
        case "done":
            found.done.append(event)
        case "broken":
            found.broken.append(event["message"])
        case "unavailable":
            found.unavailable = event["message"]
        case "memory":
            found.dead[found.jobs[event["job"]]] = "out of memory"
        case "bug":
            found.bug = event["message"]


def _end(child: subprocess.Popen[bytes]) -> None:
    """The child and everything it started."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(timeout=5)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
