from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.compose.engines.opening import open_results
from harness.compose.regret import __main__ as command
from tests.harness.compose.evaluations import InProcessEngine

ARGUMENTS = ["--layers", "3", "--seeds", "3", "--replays", "2", "--evaluations", "4"]


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> InProcessEngine:
    """Stands in for worker processes; the task is a real one, its training is not."""
    opened = InProcessEngine()

    def open_engine(name: str, *, workers: int, candidates: Path, runs: Path) -> InProcessEngine:
        assert (name, workers) == ("local", 1)
        return opened

    monkeypatch.setattr(command, "open_engine", open_engine)
    return opened


def run(*arguments: str) -> tuple[int, str, str]:
    ended = CliRunner().invoke(command.app, [*ARGUMENTS, *arguments])
    return ended.exit_code, ended.stdout, ended.stderr


def test_the_same_command_again_runs_nothing_and_says_the_same(
    tmp_path: Path, engine: InProcessEngine
) -> None:
    documents = []
    for _ in range(2):
        engine.asked.clear()
        assert run("--runs", str(tmp_path), "--output", str(tmp_path / "out.json"))[0] == 0
        documents.append(json.loads((tmp_path / "out.json").read_text()))
    assert engine.asked == []
    assert documents[1]["cached"] == 8 * (1 + 3)
    for document in documents:
        del document["cached"], document["cpu_seconds"]
    assert documents[0] == documents[1]


def test_tables_go_to_stdout_and_progress_to_stderr(tmp_path: Path, engine: InProcessEngine) -> None:
    code, printed, told = run("--runs", str(tmp_path))
    assert code == 0
    assert "beats random" in printed
    assert "32 of 32 evaluations" in told
    assert "evaluations\n" not in printed.split("Best of")[0]


def test_rungs_are_the_presets_and_none_lies_below_its_transition(
    tmp_path: Path, engine: InProcessEngine
) -> None:
    code, _, told = run("--runs", str(tmp_path), "--rungs", "1:1")
    assert code == 2
    assert told.startswith("error: rungs: expected one seed or more and")
    assert engine.asked == []


def test_results_are_where_every_other_command_finds_them(tmp_path: Path, engine: InProcessEngine) -> None:
    assert run("--runs", str(tmp_path))[0] == 0
    with open_results(tmp_path) as known:
        assert all(known.get(request) is not None for request in engine.asked)


def test_a_corpus_counts_in_what_is_asked(tmp_path: Path, engine: InProcessEngine) -> None:
    assert run("--runs", str(tmp_path), "--task", "text")[0] == 0
    assert {name for request in engine.asked for name in request.identities} == {"mA", "M", "text/pydoc"}


def test_a_misspelt_task_is_usage(tmp_path: Path, engine: InProcessEngine) -> None:
    assert run("--runs", str(tmp_path), "--task", "recal")[0] == 2
