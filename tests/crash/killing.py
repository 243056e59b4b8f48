"""One run through the command line: whole, or killed at an event and gone on with by `harness resume`."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from harness.agents.llm.agent import LLMAgent
from harness.agents.llm.recording import Recorder
from harness.agents.protocol import Task
from harness.engine.design import run_design
from harness.engine.judging import open_judge
from harness.engine.members import Member
from harness.engine.run_folder import RUN_FILE, run_folders
from harness.engine.settings import Settings
from harness.engine.skeletons import load_skeletons
from harness.objectives.throughput import Throughput
from harness.policies.opening import open_policy
from harness.store import Store
from tests.crash.answers import WritingModel
from verify.source.lock import DEFAULT_TEMPLATES

FAMILY = "linear_state"
_PATIENCE = 600.0
"""Seconds until a run that says nothing counts as hung."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """What is run: proposals, policy, depth."""

    budget: int
    policy: str
    depth: str
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Killed:
    """One kill: after which event, how much was there afterwards, and what differs from the whole run."""

    after: int
    kind: str
    found: int
    events_differ: int
    files_differ: int

    @property
    def same(self) -> bool:
        return not self.events_differ and not self.files_differ


def record(search: Search, folder: Path, cache: Path) -> Path:
    """Have the scripted model's answers recorded by a whole run, which also fills the verdict cache."""
    skeletons = load_skeletons(FAMILY, DEFAULT_TEMPLATES)
    answers = folder / "answers.jsonl"
    recorder = Recorder(WritingModel(skeletons), answers)
    try:
        member = Member(agent=LLMAgent(recorder, {}), policy=open_policy(search.policy))
        task, objective = Task(skeletons=skeletons, seed=search.seed), Throughput()
        settings = Settings.of(
            task,
            (member,),
            objective,
            family=FAMILY,
            budget=search.budget,
            admit=search.budget,
            depth="full" if search.depth == "full" else "quick",
        )
        run_design(
            settings,
            task,
            (member,),
            objective=objective,
            out=folder / "out",
            runs=folder / "runs",
            judges=partial(open_judge, cache),
            workers=2,
            observe=lambda _state, message: print(message, file=sys.stderr, flush=True),
        )
    finally:
        recorder.release()
    return answers


class Replays:
    """Runs of one search with recorded answers, each in a folder of its own."""

    def __init__(self, search: Search, answers: Path, home: Path) -> None:
        self._search, self._answers, self._home = search, answers, home
        self.whole = home / "whole"
        self._finish(self._begin(self.whole))
        self._events = _events(self.whole)
        self._files = _files(self.whole)

    @property
    def events(self) -> int:
        """How many a whole run has."""
        return len(self._events)

    @property
    def admitted(self) -> int:
        return sum(name.endswith("mechanism.py") for name in self._files)

    def kill(self, after: int, name: str, rng: random.Random) -> Killed:
        """Kill a run some milliseconds after its event number `after`, go on with it, and compare."""
        folder = self._home / name
        process = self._begin(folder)
        self._wait_for(process, folder, after)
        time.sleep(rng.uniform(0.0, 0.03))
        _kill(process)
        found = len(_events(folder))
        self._finish(self._resume(folder))
        events, files = _events(folder), _files(folder)
        names = {*self._files, *files}
        places = range(max(len(events), len(self._events)))
        return Killed(
            after=after,
            kind="start" if not found else self._events[found - 1][1],
            found=found,
            events_differ=sum(events[n : n + 1] != self._events[n : n + 1] for n in places),
            files_differ=sum(self._files.get(one) != files.get(one) for one in names),
        )

    def _begin(self, folder: Path) -> subprocess.Popen[bytes]:
        search = self._search
        options = {
            "agent": "replay",
            "answers": self._answers,
            "family": FAMILY,
            "policy": search.policy,
            "budget": search.budget,
            "admit": search.budget,
            "depth": search.depth,
            "seed": search.seed,
            "runs": folder / "runs",
            "out": folder / "out",
        }
        arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]
        return self._start("design", *arguments)

    def _resume(self, folder: Path) -> subprocess.Popen[bytes]:
        """By `resume` where there is a run to resume; one that was killed before that begins again."""
        folders = run_folders(folder / "runs")
        return self._start("resume", str(folders[0])) if folders else self._begin(folder)

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "XDG_CACHE_HOME": str(self._home / "cache")}
        return subprocess.Popen(
            [sys.executable, "-m", "harness", *arguments],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def _finish(self, process: subprocess.Popen[bytes]) -> None:
        _, errors = process.communicate(timeout=_PATIENCE)
        if process.returncode not in (0, 1):
            raise RuntimeError(
                f"expected the run to end, got exit code {process.returncode}: {errors.decode()}"
            )

    def _wait_for(self, process: subprocess.Popen[bytes], folder: Path, after: int) -> None:
        deadline = time.monotonic() + _PATIENCE
        while process.poll() is None and time.monotonic() < deadline:
            if _count(folder) >= after:
                return
            time.sleep(0.003)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """The process alone: its children have to notice by themselves."""
    process.send_signal(signal.SIGKILL)
    process.communicate()


def _count(folder: Path) -> int:
    for run in run_folders(folder / "runs"):
        with contextlib.suppress(sqlite3.Error):
            database = sqlite3.connect(f"{(run / RUN_FILE).resolve().as_uri()}?mode=ro", uri=True)
            with contextlib.closing(database):
                return int(database.execute("SELECT count(*) FROM events").fetchone()[0])
    return 0


def _events(folder: Path) -> list[tuple[int, str, str]]:
    """Every column of the events but clock and cost."""
    runs = run_folders(folder / "runs")
    if not runs:
        return []
    with Store(runs[0] / RUN_FILE) as store:
        return [(event.seq, event.kind, json.dumps(event.body, sort_keys=True)) for event in store.events()]


def _files(folder: Path) -> dict[str, bytes]:
    """What was admitted: mechanisms and verdicts; `measured/` is what a clock said."""
    out = folder / "out"
    names = ("mechanism.py", "verdict.json")
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.name in names}
