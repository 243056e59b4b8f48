"""The `compose show` command: a study's trials, re-tests and ledger, while it runs or after it."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.compose.accounting import ledger
from harness.compose.study_folder import ReadStudy, read_study
from harness.compose.study_state import Entry
from harness.compose.trials_left import trials_left
from harness.printable import printable
from harness.report.compose_summary import trial_json


def run(study: str, *, runs: Path, best: int, as_json: bool, stdout: Console) -> int:
    """Print the best `best` trials of a study; returns the exit code. Raises as `read_study`."""
    found = read_study(study, runs)
    if as_json:
        entries = [trial_json(entry) for entry in found.state.entries]
        document = {
            "study": found.settings.study_id,
            "settings": found.settings.to_json(),
            "ledger": ledger(found.state.entries).to_json(),
            "trials": entries,
        }
        stdout.file.write(json.dumps(document, indent=2, sort_keys=True) + "\n")
        return 0
    _print(found, best, stdout)
    return 0


def _print(found: ReadStudy, best: int, stdout: Console) -> None:
    ranked = found.state.ranked()
    rest = [entry for entry in found.state.entries if entry.fitness is None]
    stdout.print(_trials([*ranked, *rest][:best], f"Study {found.settings.study_id}, the best trials first"))
    if tested := found.retested():
        stdout.print()
        table = Table(
            title="Re-tested on the selection split", title_justify="left", box=None, pad_edge=False
        )
        table.add_column("composition", overflow="fold")
        table.add_column("score, 95 % interval", justify="right")
        for one in tested:
            table.add_row(Text(printable(one.composition.run_length())), str(one.interval))
        stdout.print(table)
    stdout.print()
    stdout.print(Text(str(ledger(found.state.entries))), soft_wrap=True)
    left = trials_left(found.settings, found.state.entries)
    more = f"At most {left} trials are left: the same command goes on. " if left > 0 else ""
    stdout.print(
        Text(f"{more}Next: `harness compose extrapolate {found.settings.study_id} --target 1b`."),
        soft_wrap=True,
    )


def _trials(entries: list[Entry], title: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for column in ("trial", "composition", "outcome", "rung", "fitness"):
        table.add_column(column, justify="right" if column in ("trial", "rung", "fitness") else "left")
    for entry in entries:
        table.add_row(
            str(entry.number + 1),
            Text(printable(entry.composition.run_length())),
            entry.outcome or "under way",
            str(entry.rung),
            "-" if entry.fitness is None else f"{entry.fitness:.4f}",
        )
    return table
