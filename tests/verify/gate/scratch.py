"""Scratch repositories with this project's candidates, and a judge that answers at once."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from verify.findings import Finding
from verify.gate.judging import Question
from verify.gate.records import GateReport, Judged
from verify.gate.run import Settings, run_gate
from verify.source.identity import short_id
from verify.source.static import check_static

ROOT = Path(__file__).resolve().parents[3]
FAMILY = "linear_state"
ADMITTED = sorted(
    path.parent
    for path in (ROOT / "candidates" / FAMILY).glob("*/verdict.json")
    if json.loads(path.read_text())["admission"] == "admitted"  # later rules may have rejected one
)
CANDIDATES = ADMITTED[:5]
"""What the scratch repositories are made from: enough, and no more as the project grows."""

WRONG = "x * 1.5"
"""The quick judge rejects a source that holds this text, at the line where it stands."""


class Scratch:
    """A repository whose `main` has a judge, the templates and all candidates but one, on branch `pr`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def make(cls, root: Path, *, with_judge: bool = True) -> Scratch:
        scratch = cls(root)
        root.mkdir()
        scratch.git("init", "--quiet", "--initial-branch=main")
        ignored = shutil.ignore_patterns("__pycache__")
        for name in (f"templates/{FAMILY}", *(["verify"] if with_judge else [])):
            shutil.copytree(ROOT / name, root / name, ignore=ignored)
        for folder in CANDIDATES[1:]:
            shutil.copytree(folder, scratch.folder_of(folder), ignore=ignored)
        scratch.commit("the base branch")
        scratch.git("switch", "--quiet", "--create", "pr")
        return scratch

    def folder_of(self, candidate: Path) -> Path:
        """Where a candidate of the project lies here."""
        return self.root / "candidates" / candidate.parent.name / candidate.name

    def add_honest(self, candidate: Path = CANDIDATES[0]) -> Path:
        """A candidate that `main` does not have."""
        target = self.folder_of(candidate)
        shutil.copytree(candidate, target)
        return target

    def add_changed(self, change: Callable[[str], str], *, slug: str = "changed") -> Path:
        """The same with a changed source, under that source's id, and with a verdict that admits it."""
        source = change((CANDIDATES[0] / "mechanism.py").read_text())
        digest = digest_of(source)
        target = self.root / "candidates" / CANDIDATES[0].parent.name / f"{slug}-{short_id(digest)}"
        shutil.copytree(CANDIDATES[0], target)
        (target / "mechanism.py").write_text(source)
        (target / "verdict.json").write_text(
            json.dumps(admission_of(digest), indent=2, sort_keys=True) + "\n"
        )
        return target

    def add_broken(self) -> tuple[Path, int]:
        """A candidate that the quick judge rejects, and the line at which it does."""
        target = self.add_changed(break_feature_map)
        return target, wrong_line((target / "mechanism.py").read_text())

    def commit(self, message: str = "a change") -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)
        return self.git("rev-parse", "HEAD").strip()

    def git(self, *arguments: str) -> str:
        identity = (
            "-c",
            "user.name=nobody",
            "-c",
            "user.email=nobody@localhost",
            "-c",
            "commit.gpgsign=false",
        )
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        done = subprocess.run(
            ["git", "-C", str(self.root), *identity, *arguments],
            env=environment | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def gate(self, runner: QuickJudge | None = None, *, base: str = "main", jobs: int = 1) -> GateReport:
        settings = Settings(folder=self.root, base=base, plan_seed=7, jobs=jobs)
        return run_gate(settings, runner or QuickJudge())

    def contents(self) -> dict[str, bytes]:
        """Every file of the checkout and of its repository."""
        files = (path for path in self.root.rglob("*") if path.is_file())
        return {path.relative_to(self.root).as_posix(): path.read_bytes() for path in files}


class QuickJudge:
    """Answers as the project's committed verdicts do; unknown sources are admitted unless they hold WRONG.

    `fresh` and `base` hold text that only a fresh plan, or only the judge of the merge base, rejects.
    """

    def __init__(self, *, fresh: str | None = None, base: str | None = None, slow: str | None = None) -> None:
        self.questions: list[Question] = []
        self.judges: list[dict[str, bytes]] = []
        self._fresh, self._base, self._slow = fresh, base, slow
        self._behaviour: dict[str, str] = {}
        # Python 3.11 loses count of its own recursion where two threads parse; real judges are processes.
        self._one_at_a_time = threading.Lock()

    def computes(self, folder: Path, behaviour: str) -> None:
        """Say what the mechanism in this folder computes; also in its verdict."""
        self._behaviour[folder.name] = behaviour
        fields = json.loads((folder / "verdict.json").read_bytes())
        text = json.dumps(fields | {"behaviour": behaviour}, indent=2, sort_keys=True)
        (folder / "verdict.json").write_text(f"{text}\n")

    def __call__(self, checkout: Path, question: Question) -> list[Judged]:
        self.questions.append(question)
        files = [path for path in question.judge.root.rglob("*") if path.is_file()]
        self.judges.append(
            {path.relative_to(question.judge.root).as_posix(): path.read_bytes() for path in files}
        )
        with self._one_at_a_time:
            return [self._judge(path, (checkout / path).read_text(), question) for path in question.files]

    def _judge(self, path: str, source: str, question: Question) -> Judged:
        marks = [WRONG]
        marks += [self._fresh] if question.plan_seed and self._fresh else []
        marks += [self._base] if "merge base" in question.judge.name and self._base else []
        line = next((wrong_line(source, mark) for mark in marks if mark in source), None)
        rule, message = "GRD-VALUE", "expected the gradient of the reference, got another. Derive it again."
        findings = (
            () if line is None else (Finding(rule=rule, message=message, line=line, column=5, where="T=65"),)
        )
        if self._slow and self._slow in source:
            findings = (Finding(rule="ADM-TIMEOUT", message="expected an answer, got none"),)
        verdict = dict(
            answer(source, rejected=line is not None, findings=findings, redrawn=question.plan_seed != 0)
        )
        said = self._behaviour.get(Path(path).parent.name)
        if said:
            verdict["behaviour"] = said
        return Judged(
            path=path,
            verdict=verdict,
            findings=findings,
            counterexamples=("GRD-VALUE d_k[0, 1]: expected 1, got 2",) if line is not None else (),
        )


def answer(
    source: str, *, rejected: bool, findings: tuple[Finding, ...], redrawn: bool = False
) -> Mapping[str, object]:
    """The fields of verdict.json that the quick judge gives."""
    for folder in CANDIDATES:
        if (folder / "mechanism.py").read_text() == source and not rejected and not redrawn:
            return json.loads((folder / "verdict.json").read_bytes())
    verdict = admission_of(digest_of(source))
    if redrawn:
        verdict["admission"] = "incomplete"
        verdict["stages"] |= dict.fromkeys(("CMP", "THR", "ADM"), "skip")
    if rejected:
        verdict["admission"] = "rejected"
        verdict["stages"] |= {"GRD": "fail", "MEM": "skip", "CMP": "skip", "THR": "skip", "ADM": "fail"}
        verdict["findings"] = [finding.to_json() for finding in findings]
    return verdict


def admission_of(digest: str) -> dict[str, Any]:
    """verdict.json of an admitted source that computes what no other does."""
    verdict = json.loads((CANDIDATES[0] / "verdict.json").read_bytes())
    return verdict | {"source_hash": digest, "behaviour": behaviour_named(digest)}


def behaviour_named(name: str) -> str:
    """Sixteen numbers as the judge writes them: equal for equal names, far apart for others."""
    digest = hashlib.sha256(name.encode()).digest()
    return np.frombuffer(digest[:16], np.uint8).astype(">f4").tobytes().hex()


def digest_of(source: str) -> str:
    static = check_static(source.encode(), path="mechanism.py")
    if static.mechanism is None:
        return hashlib.sha256(source.encode()).hexdigest()
    return static.mechanism.source_hash


def wrong_line(source: str, mark: str = WRONG) -> int:
    return next(number for number, line in enumerate(source.splitlines(), start=1) if mark in line)


def break_feature_map(source: str) -> str:
    """Another mechanism, which the quick judge rejects: its kernel's slot is no longer the reference's."""
    start = source.index("@triton.jit\ndef _phi(x):")
    position = source.index("    return ", start)
    end = source.index("\n", position)
    return f"{source[:position]}    return {WRONG}{source[end:]}"


def rules_of(report: GateReport) -> list[str]:
    return sorted({located.finding.rule for located in report.findings})
