"""Verdicts already given: keyed by source bytes, rules, depth, Triton, targets and the judge's own code.

A cache entry is the judge's own output, written atomically, and re-validated when read: a damaged entry is a
miss. Imports only what a look-up needs, so that an unchanged file is answered in a fraction of a second.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Protocol

from verify.judge.verdict import FULL_ISOLATION, TARGETS, Depth, Verdict, installed_triton
from verify.rules import RULES_VERSION


def default_folder() -> Path:
    """`$XDG_CACHE_HOME/aira-harness/verdicts`; where it lies never changes a verdict."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "aira-harness" / "verdicts"


@cache
def judge_digest() -> str:
    """A digest of every file of `verify/` and `templates/`: another judge never answers for this one."""
    digest = hashlib.sha256()
    verify = Path(__file__).resolve().parents[1]
    for folder in (verify, verify.parent / "templates"):
        for path in sorted(folder.rglob("*.py")):
            for field in (str(path.relative_to(folder.parent)).encode(), path.read_bytes()):
                digest.update(len(field).to_bytes(8, "little"))
                digest.update(field)
    return digest.hexdigest()


class VerdictCache:
    """One JSON file per verdict under `folder`."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or default_folder()

    def _path(self, source: bytes, depth: Depth) -> Path:
        digest = hashlib.sha256()
        for field in (
            source,
            RULES_VERSION.encode(),
            depth.encode(),
            (installed_triton() or "none").encode(),
            ",".join(TARGETS).encode(),
            judge_digest().encode(),
        ):
            digest.update(len(field).to_bytes(8, "little"))
            digest.update(field)
        key = digest.hexdigest()
        return self._folder / key[:2] / f"{key}.json"

    def get(self, source: bytes, depth: Depth) -> Verdict | None:
        """The stored verdict, or None."""
        try:
            data = json.loads(self._path(source, depth).read_bytes())
            verdict = Verdict.from_bytes(json.dumps(data["verdict"]).encode())
            return replace(verdict, measured=data["measured"]) if verdict.depth == depth else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def put(self, source: bytes, verdict: Verdict) -> None:
        """Store a verdict. A full or read-only disk only means that it will be judged again."""
        path = self._path(source, verdict.depth)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
                json.dump(
                    {"verdict": verdict.to_json(), "measured": dict(verdict.measured)}, file, sort_keys=True
                )
            Path(file.name).replace(path)
        except OSError:
            return


class Checker(Protocol):
    """What can judge: `verify.judge.judge.Judge`, or this module's `CachingJudge` around it."""

    def check(self, source: bytes, *, path: str, depth: Depth, root_seed: int = 0) -> Verdict: ...


class CachingJudge:
    """Answers from the cache, and makes a judge (which is dear to import) only for a source that it does not
    know.

    A wall time-out says something about the machine, and a machine without full isolation is not everybody's:
    neither is remembered. Nor is a plan that was drawn from another root seed.
    """

    def __init__(self, make_judge: Callable[[], Checker], cache: VerdictCache | None) -> None:
        self._make, self._cache = make_judge, cache
        self._judge: Checker | None = None

    def check(self, source: bytes, *, path: str, depth: Depth, root_seed: int = 0) -> Verdict:
        """The verdict on one source; see `Judge.check`."""
        known = self._cache.get(source, depth) if self._cache and not root_seed else None
        if known is not None:
            return known
        self._judge = self._judge or self._make()
        verdict = self._judge.check(source, path=path, depth=depth, root_seed=root_seed)
        lasting = verdict.isolation == FULL_ISOLATION and not verdict.timed_out and not root_seed
        if self._cache and lasting:
            self._cache.put(source, verdict)
        return verdict
