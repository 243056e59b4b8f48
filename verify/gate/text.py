"""The report as people read it in a terminal."""

from __future__ import annotations

from collections.abc import Mapping

from verify.gate.records import GateReport, Report
from verify.gate.words import one_line
from verify.report import FINDINGS_SHOWN, MARKS


def report_lines(report: GateReport) -> list[str]:
    """A block per candidate or skeleton, then what concerns the whole run."""
    lines = []
    for one in report.reports:
        lines += subject_lines(one)
    lines += [located.render() for located in report.strays]
    return [*lines, *(f"note: {note}" for note in report.notes)]


def subject_lines(report: Report) -> list[str]:
    """Result, stages, findings, and the counterexamples with their values."""
    lines = [f"{one_line(report.path)}: {report.word} ({report.change} {report.kind})"]
    if report.stages:
        lines.append(f"  verdict     {stage_line(report.stages)}")
    if report.fresh:
        lines.append(f"  fresh plan  {stage_line(report.fresh)}")
    lines += [f"  {located.render()}" for located in report.findings[:FINDINGS_SHOWN]]
    if len(report.findings) > FINDINGS_SHOWN:
        lines.append(
            f"  ... and {len(report.findings) - FINDINGS_SHOWN} more findings; --json has all of them"
        )
    lines += [f"  {one_line(line)}" for line in report.counterexamples]
    return [*lines, *(f"  note: {note}" for note in report.notes)]


def stage_line(stages: Mapping[str, str]) -> str:
    """Stages and how they ended, on one line."""
    return "  ".join(f"{stage} {MARKS.get(status, status)}" for stage, status in stages.items())
