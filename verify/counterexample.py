"""What `show --replay` and `replay` say: a case, its worst element, how to run it again, and where the error
sits.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from verify.error_map import COLUMNS, ROWS, ErrorMap, text_lines
from verify.judge.cases import Case
from verify.judge.replay import Failure, Replayed
from verify.judge.shrink import Shrunk
from verify.judge.verdict import Verdict

Drawings = list[tuple[str, ErrorMap]]


def first_failure(verdict: Verdict) -> Failure | None:
    """The first wrong number of a single case or, where every number is right, the first wrong access; None
    where the rejection has neither, as for a crash.
    """
    for example in verdict.measured.get("counterexamples", ()):
        if example["rule"].startswith(("NUM-", "GRD-")):
            return Failure.of(example)
    return next((failure for failure in map(Failure.at, verdict.findings) if failure is not None), None)


def describe_failure(
    file: Path, failure: Failure, found: Replayed, smallest: Replayed, shrunk: Shrunk
) -> tuple[dict[str, Any], list[str], Drawings]:
    """A shrunk failure as a JSON document, as text lines, and as captioned maps: where it was found, and the
    smallest case if that has more than one element to show.
    """
    again = replay_command(file, shrunk.case)
    shown, told = _shown(smallest)
    document = {
        **shown,
        "found": failure.case.label,
        "smallest": shrunk.case.label,
        "runs": shrunk.runs,
        "exhausted": shrunk.exhausted,
        "command": again,
    }
    ended = "; the budget ended the search" if shrunk.exhausted else ""
    lines = [
        f"  {about(failure)}",
        f"  found at  {failure.case.label}",
        f"  smallest  {shrunk.case.label} ({shrunk.runs} runs{ended})",
        f"  {told}",
        f"  again     {again}",
    ]
    numeric = smallest.example is not None  # a wrong access has no error to draw
    drawings = [(f"as found: {failure.case.label}", found.drawing)] if found.drawing and numeric else []
    if numeric and smallest.drawing and shrunk.case != failure.case and smallest.drawing.error.size > 1:
        drawings.append((f"smallest: {shrunk.case.label}", smallest.drawing))
    document["maps"] = [{"caption": caption, **map_document(drawing)} for caption, drawing in drawings]
    for caption, drawing in drawings:
        lines += ["", caption, *text_lines(drawing)]
    return document, lines, drawings


def _shown(replayed: Replayed) -> tuple[dict[str, Any], str]:
    """What a replay is shown for, as JSON and as a line: a wrong number, or a wrong access."""
    if replayed.example is not None:
        return finite(replayed.example), f"element   {element(replayed.example)}"
    assert replayed.finding is not None
    return replayed.finding.to_json(), f"access    {replayed.finding.message}"


def describe_replay(file: Path, case: Case, replayed: Replayed) -> tuple[dict[str, Any], list[str]]:
    """One case run again: its findings, error / tolerance of each result, and the map of the worst one."""
    outcome = replayed.outcome
    ratios = sorted(outcome.ratios.items(), key=lambda item: (-item[1], item[0]))
    lines = [f"{file}: {case.label}", *(f"  {finding.render(str(file))}" for finding in outcome.findings)]
    if replayed.example is not None:
        lines.append(f"  element   {element(replayed.example)}")
    lines += [f"  {ratio:10.3g} x tolerance  {name}" for name, ratio in ratios]
    if replayed.drawing is not None:
        lines += ["", *text_lines(replayed.drawing)]
    rules = sorted({finding.rule for finding in outcome.findings})
    summary = f"rejected by {', '.join(rules)}" if rules else "this case is within half the tolerance"
    document = {
        "path": str(file),
        "case": case.label,
        "summary": summary,
        "findings": [finding.to_json() for finding in outcome.findings],
        "counterexample": finite(replayed.example) if replayed.example is not None else None,
        "error_over_tolerance": finite(outcome.ratios),
        "map": map_document(replayed.drawing) if replayed.drawing is not None else None,
    }
    return document, lines


def replay_command(file: Path, case: Case) -> str:
    """The command that runs just this case."""
    return f"python -m verify replay {shlex.quote(str(file))} {shlex.quote(case.label)}"


def element(example: Mapping[str, Any]) -> str:
    """The worst element of a counterexample in one line."""
    return (
        f"{example['result']}{example['index']}: expected {example['expected']:.6g}, got "
        f"{example['got']:.6g} ({example['ratio']:.3g} x tolerance)"
    )


def map_document(drawing: ErrorMap) -> dict[str, Any]:
    """The cells of the text map as JSON, with what they stand for."""
    cells, rows, columns = drawing.cells(ROWS, COLUMNS)
    return {
        "result": drawing.result,
        "at": dict(drawing.fixed),
        "rows": {"axis": drawing.row_axis or None, "edges": rows},
        "columns": {"axis": drawing.column_axis, "edges": columns},
        "error_over_tolerance": [[_number(float(cell)) for cell in row] for row in cells],
    }


def finite(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same with infinities and NaN as text: JSON has neither."""
    return {name: _number(value) if isinstance(value, float) else value for name, value in values.items()}


def _number(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


def title_of(file: Path, failure: Failure) -> str:
    """The title of a picture."""
    return f"{about(failure)} in {file.parent.name}/{file.name}"


def about(failure: Failure) -> str:
    """A rule, and the result or the line that breaks it."""
    if failure.result:
        return f"{failure.rule} of {failure.result}"
    return failure.rule if failure.line is None else f"{failure.rule} at line {failure.line}"
