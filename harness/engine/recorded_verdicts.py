"""Verdicts in one file, so that a search can be replayed where nobody has judged before.

Lines of JSON in gzip: the rules and the Triton they were judged by, then one verdict a line, by source and
depth. Of what was measured only that is kept which a search looks at.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.engine.run_folder import RUN_FILE
from harness.errors import HarnessError
from harness.store import Store
from verify.judge.verdict import Depth, Verdict, installed_triton
from verify.rules import RULES_VERSION

_KEPT = ("cpu_seconds", "counterexamples", "error_over_tolerance", "throughput")
_COMPILER = ("registers", "spill_bytes")

Verdicts = dict[tuple[str, str], Verdict]
"""By SHA-256 of the source and depth."""


def verdict_key(source: bytes, depth: Depth) -> tuple[str, str]:
    """What a verdict is found by."""
    return hashlib.sha256(source).hexdigest(), depth


def read_verdicts(path: Path) -> Verdicts:
    """The verdicts of a file; none where they were judged by other rules or another Triton, or where there is
    no file. Raises HarnessError for a damaged one.
    """
    if not path.is_file():
        return {}
    try:
        header, *lines = gzip.decompress(path.read_bytes()).decode().splitlines()
        if json.loads(header) != _header():
            return {}
        return dict(map(_read_line, lines))
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise HarnessError(
            f"{path}: expected recorded verdicts, got a file that holds none ({error}). Remove it, and the "
            "mechanisms are judged again."
        ) from None


def write_verdicts(path: Path, verdicts: Mapping[tuple[str, str], Verdict]) -> None:
    """The same verdicts give the same bytes."""
    lines = [json.dumps(_header(), sort_keys=True)]
    for (source, depth), verdict in sorted(verdicts.items()):
        line = {
            "source": source,
            "depth": depth,
            "verdict": verdict.to_json(),
            "measured": _kept(verdict.measured),
        }
        lines.append(json.dumps(line, sort_keys=True))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress("".join(f"{line}\n" for line in lines).encode(), mtime=0))


def verdicts_of_runs(folders: Iterable[Path]) -> Verdicts:
    """Every verdict that these design runs recorded."""
    found: Verdicts = {}
    for folder in folders:
        with Store(folder / RUN_FILE, read_only=True) as store:
            sources: dict[int, str] = {}
            for event in store.events():
                if event.kind == "proposed":
                    sources[event.body["position"]] = event.body["source"]
                elif event.kind == "judged":
                    verdict = Verdict.from_bytes(json.dumps(event.body["verdict"]).encode())
                    key = (sources[event.body["position"]], verdict.depth)
                    found[key] = replace(verdict, measured=event.cost["measured"])
    return found


def _header() -> dict[str, Any]:
    return {"rules": RULES_VERSION, "triton": installed_triton()}


def _read_line(line: str) -> tuple[tuple[str, str], Verdict]:
    data = json.loads(line)
    verdict = Verdict.from_bytes(json.dumps(data["verdict"]).encode())
    return (data["source"], data["depth"]), replace(verdict, measured=data["measured"])


def _kept(measured: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: measured[name] for name in _KEPT if name in measured}
    rows = [{name: row[name] for name in _COMPILER if name in row} for row in measured.get("compiler", ())]
    return {**kept, "compiler": rows} if rows else kept
