"""Compile reports already made, and which kernels a source launches: one JSON file per answer.

The name of a file is a digest of everything that the answer depends on, the whole source among it, and it is
written by the process that asked, never by one that runs a candidate. So what a hostile source makes its own
worker say is never another source's answer. A file that cannot be read or does not have the form is a miss.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

_DECIDING = (
    *("plan/specialise.py", "roles/compile.py", "judge/compile_pool.py"),
    *("triton_cpu/private.py", "triton_cpu/interpreter/launch.py"),
    *(
        f"triton_cpu/compiler/{name}.py"
        for name in ("compile", "recorded", "census", "fitting", "program", "report", "resources", "targets")
    ),
)


def default_folder() -> Path:
    """`$XDG_CACHE_HOME/aira-harness/compiled`; where it lies never changes a report."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "aira-harness" / "compiled"


@cache
def compiler_digest() -> str:
    """A digest of our code that reports come from: they are made again when it changes."""
    verify = Path(__file__).resolve().parents[2]
    return digest_of(field for name in _DECIDING for field in (name.encode(), (verify / name).read_bytes()))


def digest_of(fields: Any) -> str:
    """SHA-256 over byte strings of which none runs into the next."""
    digest = hashlib.sha256()
    for field in fields:
        digest.update(len(field).to_bytes(8, "little"))
        digest.update(field)
    return digest.hexdigest()


class ReportStore:
    """Answers under `folder` by kind ("kernels", "report", ...) and what they depend on."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or default_folder()

    def get(self, kind: str, fields: Sequence[str | bytes]) -> Any:
        """The stored value, or None."""
        try:
            data = json.loads(self._path(kind, fields).read_bytes())
        except (OSError, ValueError):
            return None
        return data.get("value") if isinstance(data, dict) and data.get("kind") == kind else None

    def put(self, kind: str, fields: Sequence[str | bytes], value: Any) -> None:
        """Store a value. A full or read-only disk only means that it will be made again."""
        path = self._path(kind, fields)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
                json.dump({"kind": kind, "value": value}, file, sort_keys=True)
            Path(file.name).replace(path)
        except OSError:
            return

    def _path(self, kind: str, fields: Sequence[str | bytes]) -> Path:
        parts = [field if isinstance(field, bytes) else field.encode() for field in (kind, *fields)]
        key = digest_of(parts)
        return self._folder / kind / key[:2] / f"{key}.json"
