"""Judges that decide by the text alone and in no time, for tests of everything around the judge."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from harness.engine.pool import REMEMBERED
from tests.admission import PROPERTIES, SHOWN, STAGES
from verify.findings import Finding
from verify.judge.verdict import Depth, Verdict

CASE = "T=65 K=7 V=5 float32"
EXAMPLES = [
    {
        "rule": "GRD-MISMATCH",
        "result": "d_k",
        "case": case,
        "index": [0, 1],
        "expected": 0.5,
        "got": got,
        "ratio": ratio,
    }
    for case, got, ratio in (
        ("B=1 T=65 H=2 K=7 V=5, float32", 0.75, 9.0),
        ("B=2 T=3 H=1 K=7 V=5, float32, needs k", float("nan"), float("inf")),
        ("B=1 T=65 H=2 K=7 V=5, bfloat16", 0.25, 2.0),
        ("the whole batch", 0.25, 2.0),
    )
]
"""What the judge found wrong with numbers, one of them not finite, one not about a single case."""


class FakeJudge:
    """Rejects what says `wrong` by GRD-MISMATCH, at full depth what says `fat` by CMP-SHARED; else admits.

    Sources that say `twin` compute the same. What says `wrong` has the counterexamples EXAMPLES. Every third
    task takes a little longer.
    """

    def check(self, source: bytes, *, path: str, depth: Depth) -> Verdict:
        text = source.decode()
        digest = hashlib.sha256(source).hexdigest()
        findings: list[Finding] = []
        if "wrong" in text:
            findings.append(Finding(rule="GRD-MISMATCH", message="expected x, got y", line=3, where=CASE))
        elif depth == "full" and "fat" in text:
            findings.append(Finding(rule="CMP-SHARED", message="expected less, got more"))
        if int(digest[:2], 16) % 3 == 0:
            time.sleep(0.05)
        full = "admitted" if depth == "full" else "incomplete"
        return Verdict(
            source_hash=digest,
            skeleton="linear_state/v1/ungated",
            depth=depth,
            admission="rejected" if findings else full,
            stages={**STAGES, "ADM": "fail" if findings else "pass"},
            findings=tuple(findings),
            evidence=SHOWN,
            properties=PROPERTIES,
            isolation="none",
            plan_seed=1,
            behaviour=_digest(b"twin" if "twin" in text else source) if depth == "full" else None,
            measured={
                "cpu_seconds": 0.25,
                "counterexamples": EXAMPLES if "wrong" in text else [],
                "error_over_tolerance": {"float32": {"d_k": float("inf") if "wrong" in text else 0.1}},
            },
        )


def _digest(text: bytes) -> str:
    """Sixteen numbers that are as good as a behaviour: equal for equal texts, and far apart for others."""
    return np.frombuffer(hashlib.sha256(text).digest()[:16], np.uint8).astype(">f4").tobytes().hex()


@contextlib.contextmanager
def open_fake() -> Iterator[FakeJudge]:
    yield FakeJudge()


class _RememberingJudge(FakeJudge):
    def check(self, source: bytes, *, path: str, depth: Depth) -> Verdict:
        verdict = super().check(source, path=path, depth=depth)
        return replace(verdict, measured={**verdict.measured, REMEMBERED: True})


@contextlib.contextmanager
def open_remembered() -> Iterator[FakeJudge]:
    """Says of every verdict that it was given before."""
    yield _RememberingJudge()


class _ReadingJudge(FakeJudge):
    """Rejects what does not parse, what imports `os`, and as wrong what says `* 1.01`."""

    def check(self, source: bytes, *, path: str, depth: Depth) -> Verdict:
        verdict = super().check(source, path=path, depth=depth)
        rule = _rule_broken(source.decode())
        if rule is None:
            return verdict
        finding = Finding(rule=rule, message="expected x, got y", line=3)
        return replace(verdict, findings=(finding,), admission="rejected")


def _rule_broken(text: str) -> str | None:
    try:
        ast.parse(text)
    except SyntaxError:
        return "PAR-SYNTAX"
    return "POL-IMPORT" if "import os" in text else "GRD-VALUE" if "* 1.01" in text else None


@contextlib.contextmanager
def open_reading() -> Iterator[FakeJudge]:
    yield _ReadingJudge()


class _CountingJudge(FakeJudge):
    def __init__(self, log: Path) -> None:
        self._log = log

    def check(self, source: bytes, *, path: str, depth: Depth) -> Verdict:
        with self._log.open("a") as file:
            file.write(f"{os.getpid()} {depth} {hashlib.sha256(source).hexdigest()}\n")
        return super().check(source, path=path, depth=depth)


@contextlib.contextmanager
def open_counting(log: Path) -> Iterator[FakeJudge]:
    """Writes a line per check to `log`."""
    yield _CountingJudge(log)


class _FailingJudge(FakeJudge):
    def __init__(self, marker: Path, how: str) -> None:
        self._marker, self._how = marker, how

    def check(self, source: bytes, *, path: str, depth: Depth) -> Verdict:
        if b"stumble" in source and not self._marker.exists():
            if self._how.startswith("once"):
                self._marker.touch()
            if self._how.endswith("exit"):
                os._exit(7)
            raise RuntimeError("the sandbox\nis gone")
        return super().check(source, path=path, depth=depth)


@contextlib.contextmanager
def open_failing(marker: Path, how: str) -> Iterator[FakeJudge]:
    """Fails on what says `stumble`: `how` is "once exit", "always exit", "once raise" or "always raise"."""
    yield _FailingJudge(marker, how)


@contextlib.contextmanager
def open_never() -> Iterator[FakeJudge]:
    raise RuntimeError("expected full isolation, got none")
    yield FakeJudge()


class _SlowJudge(FakeJudge):
    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def check(self, source: bytes, *, path: str, depth: Depth) -> Verdict:
        time.sleep(self._seconds)
        return super().check(source, path=path, depth=depth)


@contextlib.contextmanager
def open_slow(seconds: float) -> Iterator[FakeJudge]:
    yield _SlowJudge(seconds)
