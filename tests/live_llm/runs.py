"""Design runs as a user starts them, and what they leave: a document, events, recorded answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.live_llm.children import finished


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a run is asked for. `model` is what the server calls it."""

    model: str
    budget: int
    max_tokens: int


@dataclass(frozen=True, kw_only=True)
class Record:
    """What a run left. `document` is empty where it ended without one; `kept` are the folders of candidates
    that it wrote.
    """

    code: int
    document: dict[str, Any]
    events: tuple[dict[str, Any], ...] = ()
    kept: tuple[str, ...] = ()


def ask(asked: Asked, folder: Path, url: str) -> Record:
    """Run the loop against the server at `url`; its answers are recorded in `answers_file(folder)`."""
    # One request at a time: the server computes one at a time, and waiting counts as silence.
    agent = ("--agent", "openai", "--concurrency", "1")
    env = {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "none", "NO_PROXY": "127.0.0.1"}
    return _design(asked, folder, [*agent, "--answers", str(answers_file(folder))], env)


def replay(asked: Asked, folder: Path, answers: Path) -> Record:
    """The same run from recorded answers, without a server or a key."""
    return _design(asked, folder, ["--agent", "replay", "--answers", str(answers)], {"OPENAI_API_KEY": ""})


def answers_file(folder: Path) -> Path:
    """Where `ask` records the answers of a run in this folder."""
    return folder / "answers.jsonl"


def recorded(answers: Path) -> list[dict[str, Any]]:
    """The lines of a recording."""
    return _lines(answers) if answers.is_file() else []


def _design(asked: Asked, folder: Path, agent: Sequence[str], env: dict[str, str]) -> Record:
    folder.mkdir(parents=True)
    document, out, runs = folder / "document.json", folder / "candidates", folder / "runs"
    where = ("--out", str(out), "--runs", str(runs), "--output", str(document), "--workers", "1")
    what = ("--family", "linear_state", "--depth", "quick", "--budget", str(asked.budget))
    model = ("--model", asked.model, "--max-tokens", str(asked.max_tokens))
    code = finished(["-m", "harness", "design", *agent, *model, *what, *where], env)
    if not document.is_file():
        return Record(code=code, document={})
    told = json.loads(document.read_text(encoding="utf-8"))
    return Record(
        code=code,
        document=told,
        events=tuple(_exported(told["run"], runs, folder / "events.jsonl")),
        kept=tuple(sorted(path.parent.name for path in out.rglob("mechanism.py"))),
    )


def _exported(run: str, runs: Path, events: Path) -> list[dict[str, Any]]:
    finished(["-m", "harness", "export", run, "--runs", str(runs), "--output", str(events)], {})
    return _lines(events)


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
