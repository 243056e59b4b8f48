"""CMP: every kernel that the usual case launches, compiled ahead of time for each target, as it was launched.

The launches are recorded while the library runs the case without its kernels, so specialisation, heuristics
and the autotuner's first configuration are the library's and Triton's own. An autotuner on a device would
drop a configuration that does not fit, or that is slow because it spills: what a note is about is that one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from verify.foreign.cases import Outcome
from verify.foreign.hosting import configurations
from verify.foreign.library import Refused, record
from verify.foreign.notes import Note
from verify.foreign.spec import Case, Spec
from verify.triton_cpu.compiler.fitting import SPILL_LIMIT_BYTES
from verify.triton_cpu.compiler.recorded import compile_recorded
from verify.triton_cpu.compiler.report import CompileReport
from verify.triton_cpu.compiler.report_store import ReportStore
from verify.triton_cpu.compiler.targets import Target
from verify.triton_cpu.host import Recorded

Alive = Callable[[], None]
_RECORDED: dict[tuple[str, str, str], list[Recorded]] = {}
"""By spec, case and policy: the targets of a process compile the same launches."""


def _launches(spec: Spec, case: Case, policy: Literal["first", "last"]) -> list[Recorded]:
    key = (spec.name, case.name, policy)
    if key not in _RECORDED:
        _RECORDED[key] = record(spec, case, spec.case_dtypes(case)[0], policy=policy)
    return _RECORDED[key]


def compile_target(
    spec: Spec, case: Case, target: Target, alive: Alive = lambda: None
) -> tuple[Outcome, dict[str, Any]]:
    """Compile for one target: notes, and a row of resources for each specialisation.

    `alive` is called for each kernel that was compiled.
    """
    outcome = Outcome(shown={"CMP"})

    def compiled(launches: Sequence[Recorded]) -> list[CompileReport]:
        return compile_recorded(
            launches,
            (target,),
            spill_limit=SPILL_LIMIT_BYTES,
            store=ReportStore(),
            answered=lambda _: alive(),
        )

    try:
        launches = _launches(spec, case, "first")
        reports = compiled(launches)
        notes = [note for report in reports for note in notes_of(report, launches, f"{case.name}, {target}")]
        if notes:
            others = _launches(spec, case, "last")
            notes = [_tuned(note, launches, others, compiled) for note in notes]
    except Refused as refused:
        outcome.notes.append(Note(rule=refused.rule, case=case.name, message=str(refused)))
        return outcome, {}
    outcome.notes += notes
    return outcome, {"launches": len(launches), "kernels": [report.shown() for report in reports]}


def name_of(launch: Recorded) -> str:
    """The name of the kernel's function."""
    return str(launch.kernel.fn.__name__)


def notes_of(report: CompileReport, launches: Sequence[Recorded], label: str) -> list[Note]:
    """What is wrong with a compiled kernel, and which other configuration would hold, if one was found."""
    code = next(one for one in launches if name_of(one) == report.kernel).kernel.fn.__code__
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
    tried = "" if report.advice is None else f"; {report.advice.text}"
    return [Note(rule=rule, case=label, message=f"{place}: {text}{tried}") for rule, text in problems]


def _tuned(
    note: Note,
    launches: Sequence[Recorded],
    others: Sequence[Recorded],
    compiled: Callable[[Sequence[Recorded]], list[CompileReport]],
) -> Note:
    """A note about an autotuner's first configuration is explained where its last one has no such trouble."""
    name = note.message.split(" ", 1)[0]
    count = configurations(next(one for one in launches if name_of(one) == name))
    if count < 2:
        return note
    reports = compiled([one for one in others if name_of(one) == name])
    if not all(one.fits and one.spill_bytes <= SPILL_LIMIT_BYTES for one in reports):
        return note
    return replace(
        note,
        kind="design",
        why=f"the first of {count} configurations of an autotuner, which skips what does not fit and prefers "
        "what is fast; the last one fits without spilling",
        where=note.message.split(":", 1)[0] + note.message.split(":", 1)[1].split(")", 1)[0] + ")",
    )
