"""Judges in folders of their own: the merge base's, and where the rules change also the pull request's.

A judge is a folder with `verify/` and `templates/`, run as `check --json` in a process that finds these two
packages there and nothing else of the checkout: a `torch.py`, a `verify/` or a variable such as PYTHONPATH
in the pull request's reach changes nothing.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from verify.errors import InfrastructureError
from verify.findings import Finding
from verify.gate.records import Judged
from verify.gate.words import one_line

# As the sandbox's server does it: `verify` from its own folder, everything else as installed.
_BOOTSTRAP = (
    "import sys; root = sys.argv.pop(1); sys.path.insert(0, root); import verify; sys.path.remove(root)\n"
    "if not verify.__file__.startswith(root + '/'): sys.exit('verify was found at ' + verify.__file__)\n"
    "from verify.cli import main; sys.argv[0] = 'verify'; main()"
)
_KEPT = ("HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "TMPDIR")
_STOP_SECONDS = 20.0
_FINISHED = (0, 1, 3, 4)
"""Exit codes after which `check` may have written its document."""


@dataclass(frozen=True, kw_only=True)
class JudgeFolder:
    """A judge: where its packages are, and what to call it in output."""

    root: Path
    name: str


@dataclass(frozen=True, kw_only=True)
class Question:
    """Files (relative to the checkout) to be judged by one judge under one plan; `plan_seed` 0 is the
    verdict's.
    """

    judge: JudgeFolder
    files: tuple[str, ...]
    plan_seed: int = 0


class Runner(Protocol):
    """Whoever can answer a question; tests put a quick one here."""

    def __call__(self, checkout: Path, question: Question) -> list[Judged]:
        """One answer per file, in order. Raises InfrastructureError."""
        ...


@contextmanager
def judge_from_files(files: Mapping[str, bytes], name: str) -> Iterator[JudgeFolder]:
    """Write path -> bytes into a temporary folder that lasts as long as the context."""
    with tempfile.TemporaryDirectory(prefix="verify-gate-") as folder:
        root = Path(folder).resolve()
        for path, data in files.items():
            target = root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        yield JudgeFolder(root=root, name=name)


@contextmanager
def judge_from_disk(source: Path, name: str) -> Iterator[JudgeFolder]:
    """Copy verify/ and templates/ of `source`, as they lie on disk, next to nothing else."""
    with tempfile.TemporaryDirectory(prefix="verify-gate-") as folder:
        root = Path(folder).resolve()
        for package in ("verify", "templates"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source / package, root / package, ignore=ignored, symlinks=True)
        yield JudgeFolder(root=root, name=name)


def is_usable(files: Mapping[str, bytes]) -> bool:
    """Can this tree judge? A first commit, or a repository that holds only candidates, cannot."""
    return "verify/judge/judge.py" in files and "verify/cli.py" in files


def can_redraw(judge: JudgeFolder) -> bool:
    """Does this judge know `--plan-seed`? One from before it was there does not."""
    return b"plan_seed" in (judge.root / "verify" / "cli.py").read_bytes()


def ask_all(runner: Runner, checkout: Path, questions: Sequence[Question], jobs: int) -> list[list[Judged]]:
    """Answers to all questions, `jobs` processes at a time; each question is dealt out over the processes."""
    parts = [
        (index, Question(judge=q.judge, files=q.files[start::jobs], plan_seed=q.plan_seed))
        for index, q in enumerate(questions)
        for start in range(min(jobs, len(q.files)))
    ]
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        futures = [(index, pool.submit(runner, checkout, part)) for index, part in parts]
        try:
            answers: list[list[Judged]] = [[] for _ in questions]
            for index, future in futures:
                answers[index] += future.result()
        except BaseException:
            for _, future in futures:
                future.cancel()
            stop = getattr(runner, "stop", None)
            if stop is not None:
                stop()
            raise
    return [
        sorted(found, key=lambda one, order=question.files: order.index(one.path))  # type: ignore[misc]
        for found, question in zip(answers, questions, strict=True)
    ]


class CheckProcesses:
    """The real runner: one `check` process per question. Progress goes to stderr."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def __call__(self, checkout: Path, question: Question) -> list[Judged]:
        with tempfile.TemporaryDirectory(prefix="verify-gate-") as folder:
            output = Path(folder) / "verdicts.json"
            code, said = self._run(checkout, question, output)
            if code not in _FINISHED or not output.exists():
                raise InfrastructureError(
                    f"{question.judge.name} ended with exit code {code} and no verdicts: {_tail(said)}"
                )
            return read_answers(output.read_bytes(), question)

    def stop(self) -> None:
        """End every process that is still at work: interrupted, so that it takes its sandbox down itself."""
        with self._lock:
            self._stopped = True
            running = tuple(self._running)
        for process in running:
            process.send_signal(signal.SIGINT)
        for process in running:
            try:
                process.wait(timeout=_STOP_SECONDS)
            except subprocess.TimeoutExpired:  # it was started where interrupts are ignored
                process.kill()

    def _run(self, checkout: Path, question: Question, output: Path) -> tuple[int, str]:
        redraw = ["--plan-seed", str(question.plan_seed)] if question.plan_seed else []
        command = [
            *(sys.executable, "-P", "-c", _BOOTSTRAP, str(question.judge.root)),
            *("check", "--json", "--no-cache", "--depth", "full", "--output", str(output), *redraw),
            *("--", *question.files),
        ]
        with self._lock:
            if self._stopped:
                raise InfrastructureError("stopped")
            process = subprocess.Popen(  # noqa: S603  our own interpreter and module
                command,
                cwd=checkout,
                env=_environment(),
                text=True,
                errors="replace",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
            self._running.add(process)
        said = []
        assert process.stderr is not None
        with process.stderr:
            for line in process.stderr:
                said.append(line)
                if line.startswith("checking "):
                    plan = f", plan seed {question.plan_seed}" if question.plan_seed else ""
                    sys.stderr.write(f"{one_line(line.rstrip())} ({question.judge.name}{plan})\n")
        code = process.wait()
        with self._lock:
            self._running.discard(process)
        return code, "".join(said)


def read_answers(data: bytes, question: Question) -> list[Judged]:
    """Read the document of `check --json`. Raises InfrastructureError where it is not about these files."""
    try:
        entries = json.loads(data)["verdicts"]
        answers = [_answer(entry) for entry in entries]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InfrastructureError(
            f"{question.judge.name}: expected the document of `check --json`, got something else ({error!r})"
        ) from None
    if [one.path for one in answers] != list(question.files):
        raise InfrastructureError(f"{question.judge.name}: expected one verdict per file, got others")
    return answers


def _answer(entry: Mapping[str, Any]) -> Judged:
    verdict = dict(entry)
    path, shown = verdict.pop("path"), verdict.pop("shown", {})
    if verdict["admission"] not in ("admitted", "rejected", "incomplete") or not verdict["stages"]:
        raise ValueError("no admission")
    return Judged(
        path=path,
        verdict=verdict,
        findings=tuple(Finding(**finding) for finding in verdict["findings"]),
        counterexamples=tuple(shown.get("counterexamples", ())),
    )


def _environment() -> dict[str, str]:
    """All that a judge sees of the caller's environment: nothing here changes a verdict."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return {**kept, "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}


def _tail(said: str) -> str:
    lines = [one_line(line) for line in said.strip().splitlines()]
    return " / ".join(lines[-3:]) or "it said nothing"
