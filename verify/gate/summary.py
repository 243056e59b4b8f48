"""The report as Markdown: what a reviewer sees first, with each candidate's slots against its skeleton."""

from __future__ import annotations

from collections.abc import Sequence

from verify.findings import STAGES
from verify.gate.records import GateReport, Report
from verify.gate.words import code_span, fence, one_line
from verify.report import MARKS

DIFF_LINES = 120
"""Lines of a slot diff that are shown; more is a free mechanism, or no candidate for a quick review."""
MAX_BYTES = 900_000
"""GitHub drops a step's summary above one MiB."""


def summary_text(report: GateReport) -> str:
    """A table of everything, then a section each. What candidates wrote appears in code only."""
    lines = ["## verify gate", "", report.sentence, ""]
    if report.reports:
        lines += _table(report.reports)
    lines += _block([one.render() for one in report.strays], "text")
    lines += [f"- {_prose(note)}" for note in report.notes] + [""]
    size = len("\n".join(lines).encode())
    for position, one in enumerate(report.reports):
        section = _section(one)
        size += len("\n".join(section).encode())
        if size > MAX_BYTES:
            left = len(report.reports) - position
            lines += [
                f"... and {left} more, left out because a summary may hold one MiB; `--json` has all.",
                "",
            ]
            break
        lines += section
    return "\n".join(lines).rstrip("\n") + "\n"


def _table(reports: Sequence[Report]) -> list[str]:
    shown = [stage for stage in STAGES if any(stage in one.stages for one in reports)]
    head = ["", "result", *shown, "fresh plan"]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for one in reports:
        cells = [MARKS.get(one.stages.get(stage, ""), "") for stage in shown]
        lines.append(f"| {' | '.join([code_span(one.path), one.word, *cells, _fresh(one)])} |")
    return [*lines, ""]


def _fresh(report: Report) -> str:
    if not report.fresh:
        return ""
    failed = [stage for stage, status in report.fresh.items() if status == "fail"]
    if failed:
        return f"FAIL ({', '.join(failed)})"
    return "skip" if "skip" in report.fresh.values() else "pass"


def _section(report: Report) -> list[str]:
    admission = f", judged {report.admission}" if report.admission else ""
    lines = [
        f"### {code_span(report.path)}",
        "",
        f"{report.change} {report.kind}: {report.word}{admission}.",
        "",
    ]
    lines += _block([located.render() for located in report.findings], "text")
    lines += _block([one_line(line) for line in report.counterexamples], "text")
    lines += [f"- {_prose(note)}" for note in report.notes] + [""] * bool(report.notes)
    if report.kind == "candidate" and report.admission is not None:
        diff = list(report.diff[:DIFF_LINES])
        left = len(report.diff) - len(diff)
        if diff:
            changed = sum(line[:1] in "+-" for line in report.diff[2:])
            lines += [f"Slots against the skeleton ({changed} changed lines):", "", *_block(diff, "diff")]
            lines += [f"... and {left} more lines of difference.", ""] * bool(left)
        else:
            lines += ["No skeleton to compare with: read the whole file.", ""]
    return lines


def _block(lines: list[str], language: str) -> list[str]:
    mark = fence(lines)
    return [f"{mark}{language}", *lines, mark, ""] if lines else []


def _prose(note: str) -> str:
    """A note of ours, which may quote a path of theirs."""
    return one_line(note).replace("<", "&lt;")
