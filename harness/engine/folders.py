"""Admitted candidates as folders: written once, whole or not at all, and never changed under an id."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from verify.judge.verdict import Verdict

_INCOMING = ".incoming-"
DEVICE = "cpu"


def write_candidate(
    out: Path, *, family: str, name: str, source: bytes, verdict: bytes, measured: Mapping[str, Any]
) -> Path:
    """Put `<out>/<family>/<name>/{mechanism.py, verdict.json, measured/cpu.json}` in place; returns the
    folder.

    A folder that is there already with the same mechanism and verdict is left as it is. Raises HarnessError
    where it differs, or where the disk is full or read-only.
    """
    folder = out / family / name
    if folder.exists():
        _expect_same(folder, {"mechanism.py": source, "verdict.json": verdict})
        return folder
    incoming = out / family / f"{_INCOMING}{name}"
    numbers = (json.dumps(dict(measured), indent=2, sort_keys=True) + "\n").encode()
    files = {"mechanism.py": source, "verdict.json": verdict, f"measured/{DEVICE}.json": numbers}
    try:
        shutil.rmtree(incoming, ignore_errors=True)
        for relative, content in files.items():
            _write(incoming / relative, content)
        _sync(incoming / "measured")
        _sync(incoming)
        incoming.rename(folder)
        _sync(folder.parent)
    except OSError as error:
        shutil.rmtree(incoming, ignore_errors=True)
        raise HarnessError(
            f"{folder}: cannot be written ({error.strerror}). Nothing is lost: make room or permission, "
            "then run the same command again."
        ) from None
    return folder


def remove_unfinished(out: Path) -> None:
    """Remove what an interrupted run had begun to write; called with the lock on `out` held."""
    for leftover in out.glob(f"*/{_INCOMING}*"):
        shutil.rmtree(leftover, ignore_errors=True)


def written_verdicts(out: Path, family: str) -> list[tuple[Verdict, Path]]:
    """The verdict of every candidate folder of a family, for telling twins of earlier runs."""
    found = []
    for folder in sorted((out / family).glob("*/")):
        try:
            found.append((Verdict.from_bytes((folder / "verdict.json").read_bytes()), folder))
        except (OSError, ValueError):
            continue  # not a candidate, or of other rules: the judge's gate is who checks folders
    return found


def _expect_same(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        try:
            present = (folder / name).read_bytes()
        except OSError as error:
            raise HarnessError(
                f"{folder / name}: cannot be read ({error.strerror}). Candidates are append-only."
            ) from None
        if present != content:
            raise HarnessError(
                f"{folder / name}: expected the same bytes as this run's, got others. Candidates "
                "are append-only: nothing was overwritten. Use `python -m verify refresh` for new rules, or "
                "choose another --out."
            )


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
