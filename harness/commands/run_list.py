"""The `runs` command: every design run in a folder, one line each."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.engine.run_folder import ReadRun, read_run, run_folders
from harness.errors import HarnessError
from harness.printable import printable
from harness.report.ledger import ledger


def run(*, runs: Path, as_json: bool, stdout: Console, stderr: Console) -> int:
    """Print them; returns the exit code, 5 where there is none. What cannot be read is named on stderr."""
    found: list[ReadRun] = []
    for folder in run_folders(runs):
        try:
            found.append(read_run(folder))
        except HarnessError as error:
            stderr.print(Text(printable(str(error))), soft_wrap=True)
    if as_json:
        stdout.file.write(json.dumps([_line(one) for one in found], indent=2, sort_keys=True) + "\n")
    else:
        stdout.print(_table(found))
        stdout.print(Text(f"{len(found)} runs under {runs}. `harness show RUN` tells more."), soft_wrap=True)
    return 0 if found else 5


def _line(one: ReadRun) -> dict[str, object]:
    counts = ledger(one.settings, one.state)
    return {
        "run": one.settings.run_id,
        "agents": [f"{member.agent} {member.policy}" for member in one.settings.members],
        "proposals": counts["attempted"],
        "budget": one.settings.budget,
        "admitted": counts["admitted"],
        "best_score": counts["best_score"],
        "llm_tokens": counts["llm_tokens"],
        "usd": counts["usd"],
        "seconds": one.seconds,
    }


def _table(found: list[ReadRun]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("run", no_wrap=True)
    table.add_column("agents", overflow="fold")
    for name in ("proposals", "admitted", "best", "tokens", "USD", "seconds"):
        table.add_column(name, justify="right")
    for one in found:
        line = _line(one)
        names = [f"{m.agent.partition(':')[0]} {m.policy.partition('/')[0]}" for m in one.settings.members]
        table.add_row(
            str(line["run"]),
            Text(printable(", ".join(names))),
            f"{line['proposals']} of {line['budget']}",
            str(line["admitted"]),
            "-" if line["best_score"] is None else f"{line['best_score']:g}",
            str(line["llm_tokens"]),
            f"{line['usd']:.4f}",
            str(line["seconds"]),
        )
    return table
