"""CON, NUM, GRD and MEM of one case: run the library, and hold what it gives against the reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from verify.dtypes import Float64
from verify.foreign.draws import draw_tensors
from verify.foreign.library import Ran, Refused, Settings, run
from verify.foreign.notes import Note
from verify.foreign.reference import Known, known
from verify.foreign.spec import Case, Output, Spec
from verify.judge.runs import EVENT_RULES, EXPECTED, POISONS
from verify.judge.tolerance import Comparison, Truth, compare


@dataclass(kw_only=True)
class Outcome:
    """What a job showed: notes, error / tolerance of each result, the stages that were asked, and those that
    could not be, with the reason.
    """

    notes: list[Note] = field(default_factory=list)
    ratios: dict[str, float] = field(default_factory=dict)
    shown: set[str] = field(default_factory=set)
    skipped: dict[str, str] = field(default_factory=dict)


def label_of(case: Case, dtype: str) -> str:
    """How notes name a run: the case, its dtype."""
    return f"{case.name}, {dtype}"


def judge_case(spec: Spec, case: Case, dtype: str, *, policy: Literal["first", "last"] = "first") -> Outcome:
    """Run and compare one case in one dtype, with autotuners' `policy` configuration.

    Raises BrokenSpec where the reference cannot be believed.
    """
    outcome, label = Outcome(shown={"CON", "NUM", "MEM"}), label_of(case, dtype)
    label = label if policy == "first" else f"{label}, {policy} configuration"
    tensors = draw_tensors(spec, case, dtype)
    truth = known(spec, case, tensors, dtype)
    # What is far apart has no flags for its bytes: accesses beyond its storage, and offsets that wrap, are
    # events all the same.
    settings = Settings(
        poison=POISONS[0], exact=_exact(spec, dtype), policy=policy, sanitizer=case.far is None
    )
    try:
        ran = run(spec, case, tensors, truth.cotangents, settings)
    except Refused as refused:
        outcome.notes.append(Note(rule=refused.rule, message=str(refused), case=label))
        return outcome
    outcome.notes += memory_notes(ran, label)
    outcome.notes += contract_notes(spec, ran, truth, label)
    check(spec, ran, truth, dtype, label, outcome)
    return outcome


def judge_order(spec: Spec, case: Case, dtype: str) -> Outcome:
    """MEM's second witness: other poison, and programs in reverse, must give the same bits.

    Kernels that add floats atomically differ by rounding alone; they are held to the tolerance instead, which
    is what `judge_case` does, and their note says so.
    """
    outcome, label = Outcome(shown={"MEM"}), label_of(case, dtype)
    tensors = draw_tensors(spec, case, dtype)
    truth = known(spec, case, tensors, dtype)
    exact = _exact(spec, dtype)
    runs = {
        "": Settings(poison=POISONS[0], exact=exact),
        "MEM-POISON": Settings(poison=POISONS[1], exact=exact),
        "MEM-ORDER": Settings(poison=POISONS[0], exact=exact, order="reverse"),
    }
    try:
        ran = {rule: run(spec, case, tensors, truth.cotangents, setting) for rule, setting in runs.items()}
    except Refused:
        return Outcome()  # judge_case has said so
    what = {"MEM-POISON": "unwritten memory starts with other bytes", "MEM-ORDER": "programs run in reverse"}
    for rule, words in what.items():
        moved = [
            name
            for name, values in ran[""].results.items()
            if not np.array_equal(values, ran[rule].results.get(name, np.empty(0)), equal_nan=True)
        ]
        if rule == "MEM-ORDER" and moved and ran[""].float_atomics and _within(spec, ran[rule], truth, dtype):
            continue
        if moved:
            outcome.notes.append(
                Note(
                    rule=rule,
                    case=label,
                    message=f"{', '.join(moved)} changed when {words}; expected the same bits",
                )
            )
    return outcome


def _within(spec: Spec, ran: Ran, truth: Known, dtype: str) -> bool:
    held = Outcome()
    check(spec, ran, truth, dtype, "", held)
    return not held.notes


def _exact(spec: Spec, dtype: str) -> bool:
    """float32 runs prove mathematics: dots whose precision the library leaves open are exact there."""
    return dtype == "float32" and spec.dot_precision == "ieee"


def ratio(spec: Spec, got: Float64, truth: Truth, dtype: str, result_dtype: str) -> Comparison:
    """Error / tolerance of one result; a spec's slack widens the tolerance."""
    tf32 = dtype == "float32" and spec.dot_precision == "tf32"
    found = compare(got, truth, run_dtype="float16" if tf32 else dtype, result_dtype=result_dtype)
    slack = spec.slack.get(dtype, 1.0)
    return Comparison(
        ratio=found.ratio / slack,
        where=found.where,
        sensitivity=found.sensitivity,
        expected=found.expected,
        got=found.got,
    )


def check(spec: Spec, ran: Ran, truth: Known, dtype: str, label: str, outcome: Outcome) -> None:
    """Compare every result that has a truth."""
    states = {one.name for one in spec.outputs if one.state}
    for name, expected in truth.truths.items():
        gradient = name.startswith("d_") and name not in {one.name for one in spec.outputs}
        if gradient:
            outcome.shown.add("GRD")
        if name not in ran.results:
            if gradient and np.any(expected.oracle):
                outcome.notes.append(
                    Note(rule="GRD-MISSING", case=label, message=f"{name}: expected a gradient, got None")
                )
            continue
        found = ratio(spec, ran.results[name], expected, dtype, truth.dtypes[name])
        outcome.ratios[name] = found.ratio
        if not found.ratio <= 1.0:
            if gradient:
                rule = "GRD-VALUE" if np.isfinite(found.got) else "GRD-NONFINITE"
            elif np.isfinite(found.got):
                rule = "NUM-STATE" if name in states else "NUM-OUTPUT"
            else:
                rule = "NUM-NONFINITE"
            place = list(found.where or ())
            outcome.notes.append(
                Note(
                    rule=rule,
                    case=label,
                    message=f"{name}{place}: expected {found.expected:.6g}, got {found.got:.6g} "
                    f"({found.ratio:.3g} x tolerance)",
                )
            )


def contract_notes(spec: Spec, ran: Ran, truth: Known, label: str) -> list[Note]:
    """CON: which results there are, their shapes and dtypes."""
    notes = []
    entries: Mapping[str, Output] = {one.name: one for one in spec.outputs}
    for name, expected in truth.truths.items():
        if name in entries and name not in ran.results:
            notes.append(Note(rule="CON-RESULT", case=label, message=f"{name}: expected a tensor, got None"))
        elif name in ran.results:
            got, want = ran.results[name].shape, expected.oracle.shape
            if got != want:
                notes.append(
                    Note(rule="CON-RESULT-SHAPE", case=label, message=f"{name}: expected {want}, got {got}")
                )
            kind, declared = ran.dtypes[name], truth.dtypes[name]
            if kind != declared:
                notes.append(
                    Note(
                        rule="CON-RESULT-DTYPE",
                        case=label,
                        message=f"{name}: expected {declared}, got {kind}",
                    )
                )
    return notes


def memory_notes(ran: Ran, label: str) -> list[Note]:
    """MEM: the sanitizer's events, and inputs that are not what they were."""
    notes = [
        Note(
            rule="MEM-INPUT-CHANGED",
            case=label,
            message=f"{name} holds other values after the run; expected inputs that are only read",
        )
        for name in ran.changed
    ]
    notes += [
        Note(
            rule="MEM-FLOAT-ATOMIC",
            case=label,
            message=f"{where}: adds floats atomically",
            kind="design",
            why="a device adds them in an order of its own, so that last bits differ from run to run",
            where=where,
        )
        for where in ran.float_atomics
    ]
    for event in ran.events:
        rule = EVENT_RULES.get(event.kind)
        if rule is None:
            continue
        where = f"{event.kernel} ({event.file}:{event.line})"
        text = f"{where}: {event.kind}" + (f" of {event.buffer}" if event.buffer else "")
        if event.program is not None:
            text += f", first at element {event.offset} by program {event.program}"
        if event.other_program is not None:
            text += f", after program {event.other_program}"
        if event.other_line:
            text += f" in line {event.other_line}"
        notes.append(Note(rule=rule, case=label, message=f"{text}; {EXPECTED[event.kind]}"))
    return notes
