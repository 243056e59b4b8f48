"""Verdicts as people read them: the lines that `check` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from verify.findings import STAGES
from verify.judge.verdict import Verdict

MARKS = {"pass": "pass", "fail": "FAIL", "skip": "skip", "n/a": "n/a"}
FINDINGS_SHOWN = 12


def verdict_lines(path: str, verdict: Verdict) -> list[str]:
    """One line of stages, then the findings, the counterexamples with their values, and what was timed."""
    stages = "  ".join(
        f"{stage} {MARKS[verdict.stages[stage]]}" for stage in STAGES if stage in verdict.stages
    )
    lines = [f"{path}: {verdict.admission} at depth {verdict.depth}", f"  {stages}"]
    lines += [f"  {finding.render(path)}" for finding in verdict.findings[:FINDINGS_SHOWN]]
    if len(verdict.findings) > FINDINGS_SHOWN:
        lines.append(f"  ... and {len(verdict.findings) - FINDINGS_SHOWN} more findings of the same run")
    lines += [f"  {line}" for line in counterexample_lines(verdict.measured.get("counterexamples", ()))]
    lines += [f"  {line}" for row in verdict.measured.get("timed", ()) for line in row_lines(row)]
    return lines


def shown_json(verdict: Verdict) -> dict[str, Any]:
    """What `check --json` says beside the fields of verdict.json: where it failed."""
    return {"counterexamples": counterexample_lines(verdict.measured.get("counterexamples", ()))}


def counterexample_lines(examples: Sequence[Mapping[str, Any]]) -> list[str]:
    """The element furthest from the reference, for the first counterexamples."""
    return [
        f"{example['rule']} {example['result']}{example['index']}: expected {example['expected']:.6g}, got "
        f"{example['got']:.6g} ({example['ratio']:.3g} x tolerance) at {example['case']}"
        for example in examples[:4]
    ]


def row_lines(row: Mapping[str, Any]) -> list[str]:
    """One shape: each form's median and interval, then the floor."""
    shape = " ".join(f"{name}={size}" for name, size in row["shape"].items())
    lines = [f"{shape}, {row['dtype']}, forward + backward:"]
    for form, numbers in sorted(row["forms"].items()):
        if "n/a" in numbers:
            lines.append(f"  {form:9} n/a: {numbers['n/a']}")
            continue
        lines.append(
            f"  {form:9} {numbers['microseconds']:.1f} us ({numbers['low']:.1f} to {numbers['high']:.1f}, "
            f"{numbers['repetitions']} repetitions)" + (" REFUSED" if numbers["refused"] else "")
        )
    floor = row["floor"]
    time = "n/a" if floor["microseconds"] is None else f"{floor['microseconds']:.1f} us"
    lines.append(f"  {'floor':9} {time}: {floor['reason']}")
    return lines
