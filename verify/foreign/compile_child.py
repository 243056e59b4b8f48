"""The process that meets libraries to compile them: record a case's launches, compile them, say so.

    echo 1 SPEC.py | python -m verify.foreign.compile_child --targets sm_80,sm_90 --pipe 3 --memory 12

Specs come on stdin, a line each, after the number of processes that may compile it; so torch and a library
are imported once for several of them. Nothing is computed: the library's wrapper runs on zeros, and its
launches are written down, not run.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import resource
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from verify.foreign.spec import BrokenSpec, Spec
from verify.triton_cpu.compiler.report import CompileReport
from verify.triton_cpu.compiler.report_store import ReportStore
from verify.triton_cpu.compiler.targets import Target


def main() -> None:
    """For each spec one JSON line a kernel, and a last one: "done", or what kept it from being done."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--targets", required=True)
    parser.add_argument("--pipe", type=int, required=True)
    parser.add_argument("--memory", type=int, required=True, help="GiB")
    parser.add_argument("--census", action="store_true")
    parser.add_argument("--no-cache", action="store_true")
    arguments = parser.parse_args()
    faulthandler.enable()
    limit = arguments.memory << 30
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with os.fdopen(arguments.pipe, "w", encoding="utf-8") as pipe:

        def say(event: str, **fields: Any) -> None:
            pipe.write(json.dumps({"event": event, **fields}, sort_keys=True) + "\n")
            pipe.flush()

        for line in sys.stdin:
            processes, path = line.rstrip("\n").split(" ", 1)
            try:
                _work(Path(path), int(processes), arguments, say)
            except BrokenSpec as broken:
                say("failed", rule="broken", message=str(broken))
            except Exception:  # noqa: BLE001  the parent must hear of it
                say("failed", rule="bug", message=traceback.format_exc(limit=-3))


def _work(path: Path, processes: int, arguments: argparse.Namespace, say: Any) -> None:
    from verify.foreign.loading import Unavailable, load, require

    try:
        require(())
        from verify.foreign.hosting import configurations, importing
        from verify.foreign.library import Refused, record

        with importing():
            spec = load(path)
        versions = require(spec.requires)
    except Unavailable as missing:
        say("failed", rule="unavailable", message=str(missing))
        return
    case = spec.compile_case
    if case is None:
        say("failed", rule="broken", message="expected a compile_case, the shape to compile for, got none")
        return
    dtype = _dtype(spec)
    try:
        launches = record(spec, case, dtype)
    except Refused as refused:
        say("failed", rule=refused.rule, message=str(refused))
        return
    reports = _compile(launches, processes, arguments, say, configurations)
    kernels = {one.kernel.fn.__name__: one for one in launches}
    say(
        "done",
        versions=versions,
        shape=f"{case.name}, {dtype}",
        launches=len(launches),
        reports=[
            {
                **report.to_json(),
                "file": Path(kernels[report.kernel].kernel.fn.__code__.co_filename).name,
                "configurations": configurations(kernels[report.kernel]),
            }
            for report in reports
        ],
    )


def _dtype(spec: Spec) -> str:
    """bfloat16 where the case has it."""
    assert spec.compile_case is not None
    dtypes = spec.case_dtypes(spec.compile_case)
    return "bfloat16" if "bfloat16" in dtypes else dtypes[0]


def _compile(
    launches: Sequence[Any],
    processes: int,
    arguments: argparse.Namespace,
    say: Any,
    configurations: Callable[[Any], int],
) -> list[CompileReport]:
    from verify.triton_cpu.compiler.fitting import SPILL_LIMIT_BYTES
    from verify.triton_cpu.compiler.recorded import compile_recorded

    def answered(report: CompileReport) -> None:
        state = "does not compile" if report.error else "does not fit" if report.exceeded else "compiled"
        say("kernel", text=f"{report.kernel} for {report.target}: {state} ({report.seconds:.1f} s)")

    targets: list[Target] = arguments.targets.split(",")
    return compile_recorded(
        launches,
        targets,
        census=arguments.census,
        # An autotuner has other configurations of its own, and prefers one that is fast.
        spill_limit=lambda launch: None if configurations(launch) > 1 else SPILL_LIMIT_BYTES,
        store=None if arguments.no_cache else ReportStore(),
        processes=processes,
        answered=answered,
    )


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # a library's exit handlers and threads have nothing more to say
