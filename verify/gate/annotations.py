"""Workflow commands of GitHub Actions: each finding at its line of the pull request."""

from __future__ import annotations

from verify.gate.records import GateReport, Located
from verify.rules import RULES


def annotation_lines(report: GateReport) -> list[str]:
    """One `::error` per finding. GitHub shows the first ten of a step."""
    return [_annotation(located) for located in report.findings]


def _annotation(located: Located) -> str:
    finding = located.finding
    rule = RULES.get(finding.rule)
    title = f"{finding.rule} {rule.title}" if rule else finding.rule
    where = f" [{finding.where}]" if finding.where else ""
    by = "" if located.by == "gate" else f" ({located.by})"
    properties = {"file": located.path, "line": finding.line or 1, "col": finding.column or 1, "title": title}
    head = ",".join(f"{name}={_property(str(value))}" for name, value in properties.items())
    return f"::error {head}::{_data(f'{finding.message}{where}{by}')}"


def _data(text: str) -> str:
    """The message of a command: the percent sign first, or it would be escaped twice."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """A property ends at a comma, the properties at a colon."""
    return _data(text).replace(":", "%3A").replace(",", "%2C")
