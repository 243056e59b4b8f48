"""What a design run leaves to read: one stable JSON document, and the same told in tables with a last
sentence.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from harness.engine.design import DesignResult
from harness.engine.state import Entry, smallest_counterexample
from harness.report.design_table import design_table, why
from harness.report.ledger import ledger, measured
from harness.report.ledger_table import agents_table, ledger_table
from verify.findings import Finding
from verify.report import counterexample_lines

DOCUMENT = 1
"""Version of the JSON document."""


def exit_code(result: DesignResult) -> int:
    """0 something admitted (or, at depth quick, clean); 1 everything rejected; 5 nothing to check."""
    state = result.state
    if state.with_status("admitted") or (result.settings.depth == "quick" and state.with_status("clean")):
        return 0
    return 1 if any(entry.verdict is not None for entry in state.entries) else 5


def document(result: DesignResult) -> dict[str, Any]:
    """The run as JSON: the same bytes for the same run, but for `measured`, which holds what a clock said."""
    entries = result.state.entries
    return {
        "document": DOCUMENT,
        "run": result.settings.run_id,
        "settings": result.settings.to_json(),
        "stopped": result.stopped,
        "ledger": ledger(result.settings, result.state),
        "proposals": [_proposal(entry, result) for entry in entries],
        "sentence": last_sentence(result),
        "measured": measured(result.settings, result.state),
    }


def to_text(result: DesignResult) -> str:
    """`document` with sorted keys and a final newline."""
    return json.dumps(document(result), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def print_summary(result: DesignResult, console: Console) -> None:
    """The table, the rejections with their cases, the admitted folders, the ledger, and the last sentence."""
    state, objective = result.state, result.settings.objective.partition("/")[0]
    console.print(design_table(state))
    rejected = state.with_status("rejected")
    if rejected:
        console.print("\n[bold]Rejected[/bold]")
        for entry in rejected:
            console.print(Text(f"#{entry.position + 1} {entry.proposal.slug}"))
            for finding in entry.findings[:3]:
                console.print(Text(f"   {_finding_line(finding)}"), soft_wrap=True)
            if len(entry.findings) > 3:
                console.print(f"   and {len(entry.findings) - 3} more", style="dim")
            example = smallest_counterexample(entry)
            if example is not None:
                (line,) = counterexample_lines([example])
                console.print(Text(f"   smallest: {line}"), soft_wrap=True)
    if result.folders or result.twins:
        console.print("\n[bold]Admitted[/bold]")
        for position, folder in sorted(result.folders.items()):
            score = state.entries[position].score
            said = "" if score is None else f"{objective} {score:g}  "
            console.print(Text(f"#{position + 1} {said}{folder}"), soft_wrap=True)
        for position, twin in sorted(result.twins.items()):
            console.print(Text(f"#{position + 1} not written: computes the same as {twin}"), soft_wrap=True)
    console.print()
    console.print(ledger_table(result.settings, state))
    if len(result.settings.members) > 1:
        console.print()
        console.print(agents_table(result.settings, state))
    console.print()
    console.print(Text(last_sentence(result)), soft_wrap=True)


def last_sentence(result: DesignResult) -> str:
    """What happened and what to do next."""
    state = result.state
    what = f"Run {result.settings.run_id}: {result.stopped}; "
    admitted, clean = len(state.with_status("admitted")), len(state.with_status("clean"))
    if admitted:
        return (
            what
            + f"{admitted} admitted. Next: review the folders and commit them, or run with another --seed."
        )
    if result.settings.depth == "quick" and clean:
        return what + f"{clean} passed the quick depth, none was judged in full. Next: run with --depth full."
    if state.entries and len(state.with_status("unusable")) == len(state.entries):
        return (
            what
            + "no answer held a mechanism. Next: read why above, and look at --model and OPENAI_BASE_URL."
        )
    if exit_code(result) == 5:
        return what + "nothing was left to check. Next: run with another --seed or a larger --budget."
    return (
        what
        + "none admitted. Next: read the rejections above, then run with another --seed or a larger --budget."
    )


def _proposal(entry: Entry, result: DesignResult) -> dict[str, Any]:
    folder = result.folders.get(entry.position)
    twin = result.twins.get(entry.position)
    return {
        "number": entry.position + 1,
        "skeleton": entry.proposal.skeleton,
        "slug": entry.proposal.slug,
        "operator": entry.proposal.operator,
        "parent": None if entry.proposal.parent is None else entry.proposal.parent + 1,
        "slots": dict(entry.proposal.slots),
        "agent": entry.member,
        "status": entry.status,
        "score": entry.score,
        "why": why(entry),
        "source_hash": None if entry.verdict is None else entry.verdict.source_hash,
        "findings": [finding.to_json() for finding in entry.findings],
        "smallest_counterexample": _example(entry),
        "folder": _path(folder),
        "computes_the_same_as": _path(twin),
    }


def _example(entry: Entry) -> dict[str, str] | None:
    """Which rule, result and case; the numbers themselves may differ from machine to machine."""
    example = smallest_counterexample(entry)
    return None if example is None else {name: example[name] for name in ("rule", "result", "case")}


def _path(path: Path | None) -> str | None:
    return None if path is None else path.as_posix()


def _finding_line(finding: Finding) -> str:
    position = f" (line {finding.line})" if finding.line is not None else ""
    case = f" [{finding.where}]" if finding.where else ""
    return f"{finding.rule}{position} {finding.message}{case}"
