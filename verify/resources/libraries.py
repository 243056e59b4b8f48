"""Compile the operators of libraries in processes that may die, and remember what came of it.

What a library is refused for, cannot load for or takes too long for is a finding of its spec, and the rest
goes on. A kernel that does not fit in the first of several configurations of an autotuner is said to be that:
a device would skip it.
"""

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
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from verify.findings import Finding
from verify.foreign.process import library_environment
from verify.judge.cache import judge_digest
from verify.judge.compiling import report_findings
from verify.judge.verdict import installed_triton
from verify.triton_cpu.compiler.report import CompileReport, ReportError
from verify.triton_cpu.compiler.report_store import ReportStore
from verify.triton_cpu.compiler.targets import Target

SPEC_SECONDS = 600.0
"""Wall seconds without a word from a spec's process, after which it is ended."""
MEMORY_GIB = 12
PROCESSES = 2
_TAIL_CHARACTERS = 600
_RULES = {"unavailable": "CMP-FAILED", "broken": "CMP-FAILED", "bug": "CMP-FAILED", "ended": "CMP-FAILED"}
_OTHER_VENDOR = "It was launched as for an NVIDIA device; the library may choose otherwise for this one."

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class ForeignCompiled:
    """One spec's part of the document. `failed` says that this machine, not the library, kept it from it."""

    row: dict[str, Any]
    kernels: int
    compiled: int
    failed: bool


def is_foreign(source: bytes) -> bool:
    """Whether a file declares a library's operator; it is not run to find out."""
    return b"from verify.foreign.spec import" in source


def compile_foreign(
    sources: Sequence[tuple[Path, bytes]],
    targets: tuple[Target, ...],
    *,
    census: bool,
    store: ReportStore | None,
    say: Say,
) -> list[ForeignCompiled]:
    """Each spec's kernels at its `compile_case`, in bfloat16 where it has that. In the order given."""
    idle: list[_Child] = []

    def one(file: tuple[Path, bytes]) -> ForeignCompiled:
        path, source = file
        key = (source, ",".join(targets), f"census={census}", installed_triton() or "none", judge_digest())
        known = None if store is None else _known(path, store.get("foreign", key))
        if known is not None:
            return known
        say(f"recording {path}")
        child = idle.pop() if idle else _Child(targets, census=census, cache=store is not None)
        # A long spec among the last would leave a core idle.
        answer = child.ask(path, say, processes=1 if file in sources[:-PROCESSES] else PROCESSES)
        idle.append(child)
        if store is not None and answer["event"] == "done":
            store.put("foreign", key, answer)
        return _compiled(path, answer, compiled=len(answer.get("reports", ())))

    try:
        with ThreadPoolExecutor(max_workers=PROCESSES, thread_name_prefix="foreign") as threads:
            return list(threads.map(one, sources))
    finally:
        for child in idle:
            child.end()


def _known(path: Path, answer: Any) -> ForeignCompiled | None:
    """What a stored answer says, where it has the form and the libraries are still those that gave it."""
    try:
        same = all(version(name) == number for name, number in answer["versions"].items())
        return _compiled(path, answer, compiled=0) if same else None
    except (PackageNotFoundError, KeyError, TypeError, AttributeError, ReportError):
        return None


def _compiled(path: Path, answer: dict[str, Any], *, compiled: int) -> ForeignCompiled:
    findings: list[Finding] = []
    rows: list[dict[str, Any]] = []
    if answer["event"] != "done":
        rule = _RULES.get(answer["rule"], answer["rule"])
        findings.append(Finding(rule=rule, message=answer["message"]))
    for data in answer.get("reports", ()):
        file, configurations = data.pop("file"), data.pop("configurations")
        report = CompileReport.from_json(data)
        where = f"{report.target}, {answer['shape']}, {file}:{report.line}"
        found = report_findings(report, where=where, spills=True, ieee=False)
        if configurations > 1:
            first = f"It is the first of {configurations} configurations of an autotuner"
            found = [replace(one, message=f"{one.message} {first}, which would skip it.") for one in found]
        if report.target == "gfx942":
            found = [replace(one, message=f"{one.message} {_OTHER_VENDOR}") for one in found]
        findings += [replace(one, line=None) for one in found]  # the line is the library's, not the spec's
        rows.append({**report.shown(seconds=True), "file": file, "configurations": configurations})
    return ForeignCompiled(
        row={
            "path": str(path),
            "trust": "vendor",
            "versions": answer.get("versions", {}),
            "launches": {answer["shape"]: answer["launches"]} if answer["event"] == "done" else {},
            "findings": [one.to_json() for one in findings],
            "reports": rows,
        },
        kernels=len(rows),
        compiled=compiled,
        failed=answer["event"] != "done" and answer["rule"] in _RULES,
    )


# -------------------------------------------------------------------------------------------------- the child


class _Child:
    """One process that compiles a spec after the other; one that ended is started again for the next."""

    def __init__(self, targets: tuple[Target, ...], *, census: bool, cache: bool) -> None:
        self._arguments = ["--targets", ",".join(targets), "--memory", str(MEMORY_GIB)]
        self._arguments += (["--census"] if census else []) + ([] if cache else ["--no-cache"])
        self._process: subprocess.Popen[bytes] | None = None
        self._reader = -1
        self._scratch: tempfile.TemporaryDirectory[str] | None = None

    def ask(self, path: Path, say: Say, *, processes: int) -> dict[str, Any]:
        """Its last word on a spec, compiled by so many processes at a time: "done" with its reports, or
        "failed" with a rule and a message.
        """
        process = self._process or self._start()
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it is gone; `_listen` finds out
            process.stdin.write(f"{processes} {path.resolve()}\n".encode())
            process.stdin.flush()
        answer = _listen(self._reader, path, say)
        if answer is not None and answer.get("rule") != "ended":
            return answer
        log = self._log()
        self.end()
        if answer is None:
            message = f"expected the process to say what it compiled, it ended ({process.returncode}): {log}"
            return {"event": "failed", "rule": "ended", "message": message}
        return answer

    def end(self) -> None:
        """End the process and everything it started."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=5)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(self._reader)
        assert self._scratch is not None
        self._scratch.cleanup()

    def _start(self) -> subprocess.Popen[bytes]:
        self._reader, writer = os.pipe()
        self._scratch = tempfile.TemporaryDirectory(prefix="verify-foreign-", ignore_cleanup_errors=True)
        command = [sys.executable, "-m", "verify.foreign.compile_child", "--pipe", str(writer)]
        with Path(self._scratch.name, "log").open("wb") as out:
            self._process = subprocess.Popen(  # noqa: S603  our own module
                [*command, *self._arguments],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=out,
                pass_fds=(writer,),
                start_new_session=True,
                env=library_environment(self._scratch.name),
            )
        os.close(writer)
        return self._process

    def _log(self) -> str:
        assert self._scratch is not None
        text = Path(self._scratch.name, "log").read_text(errors="replace")
        return text.strip()[-_TAIL_CHARACTERS:]


def _listen(reader: int, path: Path, say: Say) -> dict[str, Any] | None:
    """The answer; None where the process ended without one."""
    pending, deadline = b"", time.monotonic() + SPEC_SECONDS
    while True:
        ready, _, _ = select.select([reader], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            late = f"expected a kernel to compile within {SPEC_SECONDS:g} s, got no end"
            return {"event": "failed", "rule": "ended", "message": late}
        data = os.read(reader, 1 << 20)
        if not data:
            return None
        *lines, pending = (pending + data).split(b"\n")
        for line in lines:
            deadline = time.monotonic() + SPEC_SECONDS
            event: dict[str, Any] = json.loads(line)
            if event["event"] != "kernel":
                return event
            say(f"      {path.stem}: {event['text']}")
