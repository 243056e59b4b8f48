"""The `export` command: every event of a run as one line of JSON, sources and prompts in full."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from harness.commands.documents import check_output, write_output
from harness.engine.run_folder import RUN_FILE, find_run
from harness.store import Store


def run(name: str, *, runs: Path, output: Path | None, stdout: Console) -> int:
    """Write the lines to `output`, or print them; returns the exit code. Raises as `find_run` and `Store`."""
    folder = find_run(name, runs)
    check_output(output)
    with Store(folder / RUN_FILE, read_only=True) as store:
        text = "".join(f"{line}\n" for line in _lines(store))
    write_output(output, text)
    if output is None:
        stdout.file.write(text)
    return 0


def _lines(store: Store) -> Iterator[str]:
    """`{"seq", "kind", "body", "clock", "cost"}`, and where the event speaks of them `source`, the text, and
    `conversation`, what was said to a language model and by it.
    """
    for event in store.events():
        line = {
            "seq": event.seq,
            "kind": event.kind,
            "body": event.body,
            "clock": event.clock,
            "cost": event.cost,
        }
        if "source" in event.body:
            line["source"] = store.source(event.body["source"]).decode()
        if "conversation" in event.body:
            said = event.body["conversation"]
            line["conversation"] = [[role, store.source(digest).decode()] for role, digest in said]
        yield json.dumps(line, sort_keys=True, ensure_ascii=False)
