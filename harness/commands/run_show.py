"""The `show` command: which candidate grew from which, what the judge said, and what it cost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from harness.engine.run_folder import ReadRun, find_run, read_run
from harness.engine.state import Entry
from harness.printable import printable
from harness.report.design_table import slots_text, why
from harness.report.ledger import ledger, measured
from harness.report.ledger_table import agents_table, ledger_table

_STYLES = {
    "admitted": "green",
    "clean": "cyan",
    "rejected": "red",
    "duplicate": "yellow",
    "unusable": "yellow",
}


def run(name: str, *, runs: Path, as_json: bool, stdout: Console) -> int:
    """Print a run, also one under way; returns the exit code. Raises as `find_run` and `read_run`."""
    found = read_run(find_run(name, runs))
    if as_json:
        stdout.file.write(json.dumps(_document(found), indent=2, sort_keys=True, ensure_ascii=False) + "\n")
        return 0
    settings, state = found.settings, found.state
    stdout.print(candidate_tree(found))
    stdout.print()
    stdout.print(ledger_table(settings, state))
    if len(settings.members) > 1:
        stdout.print()
        stdout.print(agents_table(settings, state))
    stdout.print()
    stdout.print(
        Text(
            f"Run {settings.run_id}: {len(state.entries)} of {settings.budget} proposals, "
            f"{found.seconds:g} s of work. `harness resume` goes on with it."
        ),
        soft_wrap=True,
    )
    return 0


def candidate_tree(found: ReadRun) -> Tree:
    """Drafts under the run, what grew from a proposal under that proposal."""
    tree = Tree(Text(found.settings.run_id, style="bold"))
    nodes: dict[int, Tree] = {}
    several = len(found.settings.members) > 1
    for entry in found.state.entries:
        parent = entry.proposal.parent
        above = tree if parent is None else nodes.get(parent, tree)
        nodes[entry.position] = above.add(_line(entry, several))
    return tree


def _line(entry: Entry, several: bool) -> Text:
    proposal = entry.proposal
    line = Text(f"#{entry.position + 1} {proposal.operator} ")
    line.append(entry.status, style=_STYLES.get(entry.status, "dim"))
    said = why(entry)
    if said and said != entry.status:
        line.append(f" {said}")
    line.append(f"  {proposal.skeleton.rsplit('/', 1)[-1]}: {slots_text(entry)}", style="dim")
    costs = [f"{entry.cpu_seconds:.1f} CPU s"]
    if proposal.answers:
        costs.append(f"{proposal.tokens} tokens")
        costs.append(f"{proposal.usd:.4f} USD")
    if entry.score is not None:
        costs.insert(0, f"score {entry.score:g}")
    if several:
        costs.insert(0, printable(entry.member))
    line.append(f"  [{', '.join(costs)}]")
    return line


def _document(found: ReadRun) -> dict[str, Any]:
    return {
        "run": found.settings.run_id,
        "settings": found.settings.to_json(),
        "ledger": ledger(found.settings, found.state),
        "measured": measured(found.settings, found.state),
        "seconds": found.seconds,
        "proposals": [
            {
                "number": entry.position + 1,
                "agent": entry.member,
                "operator": entry.proposal.operator,
                "parent": None if entry.proposal.parent is None else entry.proposal.parent + 1,
                "skeleton": entry.proposal.skeleton,
                "slug": entry.proposal.slug,
                "slots": dict(entry.proposal.slots),
                "status": entry.status,
                "why": why(entry),
                "rules": list(entry.outcome().rules),
                "score": entry.score,
                "tokens": entry.proposal.tokens,
                "usd": entry.proposal.usd,
                "cpu_seconds": entry.cpu_seconds,
            }
            for entry in found.state.entries
        ],
    }
