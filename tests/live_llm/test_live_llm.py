"""The program's own checks: they hold for every kind of garbage, and each fails where it should."""

from __future__ import annotations

import copy
import os
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from tests.harness.agents.llm.loopback import Reply, Server, says
from tests.live_llm import __main__ as program
from tests.live_llm import children
from tests.live_llm.checking import Row, failures, rows, table
from tests.live_llm.model import NAME, prepare
from tests.live_llm.runs import Asked, Record, answers_file, ask, recorded, replay

pytest.importorskip("openai")

ASKED = Asked(model="m", budget=4, max_tokens=64)
Recorded = tuple[Record, list[dict[str, Any]], Record]


def garbage(request: dict[str, Any]) -> Reply:
    """By the proposal's number: chatter, a file that is cut off, a file whose `forward` takes
    something else, and a patch whose text is no Python.
    """
    text = request["messages"][1]["content"]
    number = int(re.search(r"This is proposal (\d+) of search", text)[1])
    source = re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]
    line = next(one for one in source.split("\n") if one in ("    return K**-0.5", "    return 1.0"))
    match number:
        case 1:
            return says("gradients included included included \ud800 \x00", usage=None)
        case 2:
            return says(f"```python\n{source[:200]}", finish="length")
        case 3:
            return says(f"```python\n{source.replace('def forward(', 'def forward(x, ', 1)}```\n")
    return says(f"<<<<<<< SEARCH\n{line}\n=======\n    return K**-\n>>>>>>> REPLACE\n")


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    folder = tmp_path_factory.mktemp("live")
    with Server(garbage) as server:
        record = ask(ASKED, folder / "asked", server.url)
    lines = recorded(answers_file(folder / "asked"))
    return record, lines, replay(ASKED, folder / "replayed", answers_file(folder / "asked"))


@pytest.mark.slow
def test_garbage_of_every_kind_does_no_harm(honest: Recorded) -> None:
    record, lines, again = honest
    assert list(failures(ASKED, record, lines, again)) == []
    found = rows(record, lines)
    assert [row.status for row in found] == ["unusable", "unusable", "rejected", "rejected"]
    assert [row.finish for row in found] == [("stop",) * 2, ("length",) * 2, ("stop",), ("stop",)]
    assert [len(row.texts) for row in found] == [2, 2, 1, 1]
    assert [row.tokens for row in found] == [0, 240, 120, 120]
    assert "cut off" in found[1].why


def proposal(record: Record, number: int) -> dict[str, Any]:
    return record.document["proposals"][number - 1]


def ledger(record: Record) -> dict[str, Any]:
    return record.document["ledger"]


DAMAGES: dict[str, Callable[[Record, list[dict[str, Any]]], object]] = {
    "expected no mechanism to pass": lambda record, _: ledger(record).update(clean=1),
    "expected proposals 1 to 4": lambda record, _: record.document["proposals"].pop(1),
    "expected 4 events": lambda record, _: record.events[-1].update(kind="other"),
    "each with one status": lambda record, _: ledger(record).update(rejected=1),
    "#1: expected a sentence": lambda record, _: proposal(record, 1).update(why=""),
    "#3: expected the ids": lambda record, _: proposal(record, 3).update(why=""),
    "#3: expected the ids of": lambda record, _: proposal(record, 3).update(why="NO-RULE"),
    "#4: expected unusable, rejected or": lambda record, _: proposal(record, 4).update(status="pending"),
    "#4: expected which proposal": lambda record, _: proposal(record, 4).update(status="duplicate"),
    "answers in the ledger, as were recorded": lambda record, _: ledger(record).update(llm_answers=7),
    "to belong to one proposal": lambda _, lines: lines[0].update(key="another"),
    "uncounted answers": lambda _, lines: lines[-1]["answer"]["usage"].update(read=101),
    "expected the replay to tell the same, got differences in proposals[1].slug": (
        lambda record, _: proposal(record, 2).update(slug="another")
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("message", DAMAGES)
def test_whatever_is_lost_or_unnamed_is_told(honest: Recorded, message: str) -> None:
    record, lines, again = honest
    record, lines = copy.deepcopy(record), copy.deepcopy(lines)
    if "events" in message:  # the last event need not be a proposal
        record = replace(record, events=tuple(e for e in record.events if e["kind"] == "proposed"))
    DAMAGES[message](record, lines)
    assert any(message in failure for failure in failures(ASKED, record, lines, again))


@pytest.mark.slow
def test_a_run_that_crashes_or_keeps_a_candidate_is_told(honest: Recorded) -> None:
    record, lines, again = honest
    (crash, none) = failures(ASKED, Record(code=3, document={}), lines, again)
    assert "exit code 1 or 5, got 3" in crash
    assert "a document" in none
    (kept,) = failures(ASKED, replace(record, kept=("a-candidate",)), lines, again)
    assert "a-candidate" in kept
    told = list(failures(ASKED, record, lines, Record(code=3, document={})))
    assert "expected the replay to end with exit code 1 too, got 3" in told
    assert any("tell the same" in failure for failure in told)


def test_a_long_reason_is_one_line_of_the_table() -> None:
    row = Row(
        number=1,
        operator="draft",
        finish=("length", "stop"),
        status="unusable",
        why="expected\n" + "x" * 99,
        tokens=12345,
        texts=(),
    )
    head, line = table([row])
    assert head.split() == ["#", "operator", "finish", "status", "tokens", "why"]
    assert line.split()[:6] == ["1", "draft", "length,", "stop", "unusable", "12,345"]
    assert line.endswith("x ...")
    assert "\n" not in line


def test_a_child_ends_with_the_block_however_it_ends(tmp_path: Path) -> None:
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf'); time.sleep(99)"
    with (
        pytest.raises(RuntimeError),
        (tmp_path / "log").open("wb") as log,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(children, "_PATIENCE", 0.1)
        with children.child(["-u", "-c", deaf], cwd=tmp_path, env={}, output=log) as process:
            while not (tmp_path / "log").read_bytes():
                pass
            raise RuntimeError
    assert process.poll() == -9
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


def test_a_server_that_does_not_start_is_told_with_what_it_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    ended = pytest.raises(HarnessError, match="one that ended with 1: it said nothing")
    with ended, children.served(tmp_path, tmp_path / "log"):
        pass


def test_a_model_that_is_there_is_not_made_again(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    assert prepare(tmp_path) == tmp_path / NAME


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "expected a folder with config.json"),
        ({"config.json": "{}", "tokenizer_config.json": "{}"}, "expected a chat template"),
    ],
)
def test_a_checkpoint_that_cannot_be_asked_is_wrong_usage(
    tmp_path: Path, files: dict[str, str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert program.main(["--checkpoint", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err
