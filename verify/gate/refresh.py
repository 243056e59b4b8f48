"""New rules, new verdicts: judge every candidate again and write what differs. A mechanism is never
touched.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from verify.gate.words import one_line
from verify.judge.cache import Checker
from verify.judge.verdict import Verdict

Outcome = Literal["unchanged", "rewritten", "rejected", "rejected and rewritten", "timed out", "skipped"]
DEVICE = "cpu"
_NOISE = frozenset({"seconds", "cpu_seconds", "environment"})
"""Numbers that differ from run to run and say nothing about the candidate."""


@dataclass(frozen=True, kw_only=True)
class Refreshed:
    """What became of one candidate. `changes` names the fields of verdict.json, and the files, that
    changed.
    """

    path: str
    outcome: Outcome
    changes: tuple[str, ...]
    verdict: Verdict

    def line(self) -> str:
        """One line for people."""
        detail = f": {', '.join(self.changes)}" if self.changes else ""
        return one_line(f"{self.path}: {self.outcome}{detail}")

    def to_json(self) -> dict[str, Any]:
        return {
            "path": self.path,
            "outcome": self.outcome,
            "changes": list(self.changes),
            "findings": [finding.to_json() for finding in self.verdict.findings],
        }


def find_candidates(folder: Path) -> list[Path]:
    """The candidate folders under `folder` (candidates/, a family, or one candidate), sorted."""
    return sorted(path.parent for path in folder.rglob("mechanism.py") if not path.is_symlink())


def refresh_candidate(folder: Path, judge: Checker, *, write_rejected: bool) -> Refreshed:
    """Judge one candidate at full depth and bring verdict.json and measured/cpu.json up to date.

    A verdict that is no admission is written only with `write_rejected`. Raises OSError for a full disk
    and what the judge raises; both files are replaced whole, the verdict last.
    """
    mechanism, file = folder / "mechanism.py", folder / "verdict.json"
    verdict = judge.check(mechanism.read_bytes(), path=str(mechanism), depth="full")
    old = file.read_bytes() if file.is_file() else b""
    if verdict.timed_out or verdict.admission == "incomplete":
        outcome: Outcome = "timed out" if verdict.timed_out else "skipped"
        return Refreshed(path=str(folder), outcome=outcome, changes=(), verdict=verdict)
    admitted = verdict.admission == "admitted"
    new, numbers = verdict.to_bytes(), folder / "measured" / f"{DEVICE}.json"
    changes = differing_fields(old, new)
    if old != new or _differs(numbers, verdict.measured):
        changes += [f"measured/{DEVICE}.json"]
    if not admitted and not write_rejected:
        return Refreshed(path=str(folder), outcome="rejected", changes=tuple(changes), verdict=verdict)
    if changes:
        replace_file(numbers, _document(verdict.measured))
        replace_file(file, new)
    outcome = "rewritten" if changes else "unchanged"
    if not admitted:
        outcome = "rejected and rewritten" if changes else "rejected"
    return Refreshed(path=str(folder), outcome=outcome, changes=tuple(changes), verdict=verdict)


def differing_fields(old: bytes, new: bytes) -> list[str]:
    """The fields in which two verdict documents differ; the file's name where they cannot be told apart
    by fields.
    """
    if old == new:
        return []
    before, after = _fields(old), _fields(new)
    names = [name for name in sorted({*before, *after}) if before.get(name) != after.get(name)]
    return names if before and names else ["verdict.json"]


def replace_file(path: Path, data: bytes) -> None:
    """Put `data` at `path` whole or not at all: written beside it, flushed to the disk, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".incoming-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise


def refresh_sentence(results: Sequence[Refreshed]) -> str:
    """What happened and what to do next."""
    words = [result.outcome for result in results]
    counted = ", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(words))
    advice = (
        " A rejected candidate keeps its old verdict unless --write-rejected is given."
        if "rejected" in words
        else " Commit the changed verdicts together with the rules."
        if "rewritten" in words
        else ""
    )
    return f"{len(results)} judged: {counted}.{advice}"


def _fields(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _differs(path: Path, measured: Mapping[str, Any]) -> bool:
    """Does the file say something else, times and the machine apart?"""
    try:
        old = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return True
    new = json.loads(_document(measured))
    return json.dumps(_quiet(old), sort_keys=True) != json.dumps(_quiet(new), sort_keys=True)


def _quiet(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _quiet(part) for name, part in value.items() if name not in _NOISE}
    return [_quiet(part) for part in value] if isinstance(value, list) else value


def _document(measured: Mapping[str, Any]) -> bytes:
    return (json.dumps(dict(measured), indent=2, sort_keys=True) + "\n").encode()
