"""CMP: every kernel that the usual case launches, compiled ahead of time for each target, as it was launched.

The launches are recorded while the library runs the case without its kernels, so specialisation, heuristics and the autotuner's first
configuration are the library's and Triton's own. An autotuner on a device would drop a configuration that
does not fit or spills; so a note about an autotuned kernel says so.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from verify.foreign.cases import Outcome
from verify.foreign.library import Refused, record
from verify.foreign.notes import Note
from verify.foreign.spec import Case, Spec
from verify.triton_cpu.compile import compile_launch
from verify.triton_cpu.fitting import SPILL_LIMIT_BYTES, advise
from verify.triton_cpu.host import Recorded
from verify.triton_cpu.report import CompileReport
from verify.triton_cpu.targets import Target

TARGETS: tuple[Target, ...] = ("sm_80", "sm_90", "sm_100", "gfx942")


def specialisations(launches: list[Recorded]) -> list[tuple[Recorded, int]]:
    """Launches that compile to the same kernel once, with how many there are."""
    found: dict[str, tuple[Recorded, int]] = {}
    for one in launches:
        values = sorted((name, _as_compiled(name, value, one)) for name, value in one.arguments.items())
        key = repr((id(one.kernel), values, one.num_warps, one.num_stages, sorted(one.options.items())))
        first, count = found.get(key, (one, 0))
        found[key] = (first, count + 1)
    return list(found.values())


def _as_compiled(name: str, value: Any, launch: Recorded) -> str:
    """What of an argument the compiler sees: of an integer only that it is 1, or a multiple of 16."""
    if isinstance(value, int) and not isinstance(value, bool) and name not in launch.constexprs:
        return f"int {value == 1} {value % 16 == 0} {-(2**31) <= value < 2**31}"
    return repr(value)


def compile_target(spec: Spec, case: Case, target: Target) -> tuple[Outcome, dict[str, Any]]:
    """Compile for one target: notes, and a row of resources for each kernel. Raises BrokenSpec."""
    outcome, rows = Outcome(shown={"CMP"}), []
    try:
        launches = record(spec, case, spec.case_dtypes(case)[0])
    except Refused as refused:
        outcome.notes.append(Note(rule=refused.rule, case=case.name, message=str(refused)))
        return outcome, {}
    with _scratch() as scratch:
        for launch, count in specialisations(launches):
            report = _compiled(launch, target, scratch, launch.num_warps, launch.num_stages)
            outcome.notes += notes_of(report, launch, scratch, f"{case.name}, {target}")
            rows.append({**report.placed(line=report.line, launches=count).shown(), "target": target})
    return outcome, {"launches": len(launches), "kernels": rows}


def _compiled(launch: Recorded, target: Target, scratch: str, warps: int, stages: int) -> CompileReport:
    return compile_launch(
        launch.kernel,
        launch.arguments,
        num_warps=warps,
        num_stages=stages,
        target=target,
        options=launch.options,
        scratch=scratch,
    )


def notes_of(report: CompileReport, launch: Recorded, scratch: str, label: str) -> list[Note]:
    """What is wrong with a compiled kernel; other configurations are tried, and what holds is said."""
    code = launch.kernel.fn.__code__
    place = f"{report.kernel} ({Path(code.co_filename).name}:{code.co_firstlineno})"
    if report.error is not None:
        text = report.error.strip().split("\n", 1)[0][:300]
        return [Note(rule="CMP-ERROR", case=label, message=f"{place}: expected it to compile, got {text}")]
    problems = []
    if report.exceeded:
        problems.append(("CMP-SHARED", "; ".join(sorted(report.exceeded.values()))))
    if report.spill_bytes > SPILL_LIMIT_BYTES:
        spilled = f"spills {report.spill_bytes:,} B a thread; expected at most {SPILL_LIMIT_BYTES}"
        problems.append(("CMP-SPILL", spilled))
    if not problems:
        return []
    advice = advise(report, lambda warps, stages: _compiled(launch, report.target, scratch, warps, stages))
    tried = "" if advice is None else f". Tried: {advice.text}"
    return [Note(rule=rule, case=label, message=f"{place}: {text}{tried}") for rule, text in problems]


@contextlib.contextmanager
def _scratch() -> Iterator[str]:
    """Where the compiler's cache lies: the process's own folder, which the parent removes."""
    folder = os.environ.get("TRITON_CACHE_DIR")
    if folder:
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="verify-foreign-") as made:
        yield made
