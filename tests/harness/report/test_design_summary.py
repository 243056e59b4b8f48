from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from harness.agents.protocol import Evidence, Outcome, Proposal, Task
from harness.engine.design import DesignResult, run_design
from harness.objectives.lines import Lines
from harness.report.design_summary import document, exit_code, last_sentence, print_summary, to_text
from harness.report.ledger import ledger
from harness.report.progress import LiveTable, PlainLines, progress
from tests.harness.engine.fake_judge import CASE, EXAMPLES, open_fake
from tests.harness.engine.scripted_agent import TASK, ScriptedAgent, alone, settings

WORDS = ["a", "wrong", "b", "0", "fat"]


def run(
    folder: Path,
    words: list[str],
    observe: object = None,
    depth: str = "full",
    agent: type[ScriptedAgent] = ScriptedAgent,
) -> DesignResult:
    return run_design(
        settings(words, depth=depth),
        TASK,
        alone(agent(words)),
        objective=Lines(),
        out=folder / "out",
        runs=folder / "runs",  # type: ignore[arg-type]
        judges=open_fake,
        workers=1,
        observe=observe or (lambda state, message: None),  # type: ignore[arg-type]
    )


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> DesignResult:
    return run(tmp_path_factory.mktemp("run"), WORDS)


def printed(result: DesignResult, **options: object) -> str:
    stream = io.StringIO()
    print_summary(result, Console(file=stream, width=120, **options))  # type: ignore[arg-type]
    return stream.getvalue()


def test_the_ledger_accounts_for_every_proposal(result: DesignResult) -> None:
    counts = ledger(result.settings, result.state)
    parts = ("duplicate", "rejected", "clean", "admitted")
    assert sum(counts[part] for part in parts) == counts["attempted"] == 5
    assert counts["invalid"] == {"CMP-SHARED": 1, "GRD-MISMATCH": 1}
    assert counts["llm_tokens"] == 0


def test_the_document_is_stable_and_ends_in_a_newline(result: DesignResult, tmp_path: Path) -> None:
    text = to_text(result)
    assert text.endswith("}\n")
    again = run(tmp_path, WORDS)
    moved = to_text(again).replace(str(tmp_path), str(result.run_file.parents[2]))
    assert moved == text
    assert json.loads(text) == document(result)


def test_rejections_say_rule_message_and_case(result: DesignResult) -> None:
    text = printed(result)
    assert f"GRD-MISMATCH (line 3) expected x, got y [{CASE}]" in text
    assert "CMP-SHARED expected less, got more" in text


def test_rejections_name_the_smallest_case_in_one_line(result: DesignResult) -> None:
    """Also where the wrong number is not finite."""
    (line,) = (line for line in printed(result).splitlines() if line.lstrip().startswith("smallest: "))
    assert line == (
        "   smallest: GRD-MISMATCH d_k[0, 1]: expected 0.5, got nan (inf x tolerance) at "
        "B=2 T=3 H=1 K=7 V=5, float32, needs k"
    )
    smallest = [proposal["smallest_counterexample"] for proposal in document(result)["proposals"]]
    case = EXAMPLES[1]["case"]
    assert smallest == [None, {"rule": "GRD-MISMATCH", "result": "d_k", "case": case}, None, None, None]


def test_admitted_folders_are_listed(result: DesignResult) -> None:
    lines = printed(result).splitlines()
    for folder in result.folders.values():
        assert any(line.endswith(str(folder)) for line in lines)


def test_the_last_line_is_a_sentence_that_says_what_to_do_next(result: DesignResult) -> None:
    last = printed(result).rstrip("\n").splitlines()[-1]
    assert last == last_sentence(result)
    assert "2 admitted. Next:" in last


def test_off_a_terminal_nothing_is_coloured(result: DesignResult) -> None:
    assert "\x1b" not in printed(result)


def test_no_color_is_honoured_on_a_terminal(result: DesignResult, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[32m" in printed(result, force_terminal=True, color_system="standard")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[32m" not in printed(result, force_terminal=True, color_system="standard")


@pytest.mark.parametrize(
    ("words", "depth", "code", "said"),
    [
        (["a"], "full", 0, "1 admitted"),
        (["wrong"], "full", 1, "none admitted"),
        (["fat"], "full", 1, "none admitted"),
        (["fat"], "quick", 0, "passed the quick depth"),
        (["wrong"], "quick", 1, "none admitted"),
    ],
)
def test_exit_codes(tmp_path: Path, words: list[str], depth: str, code: int, said: str) -> None:
    result = run(tmp_path, words, depth=depth)
    assert exit_code(result) == code
    assert said in last_sentence(result)


def test_plain_lines_tell_every_step(tmp_path: Path) -> None:
    stream = io.StringIO()
    with progress(Console(file=stream)) as observe:
        assert isinstance(observe, PlainLines)
        run(tmp_path, WORDS, observe)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "proposed #1 ungated-0 (draft)"
    assert "quick #2 ungated-1 (draft): rejected by GRD-MISMATCH" in lines
    assert any(line.startswith("admitted #1 ungated-0 (draft): ") for line in lines)
    assert not any("\x1b" in line for line in lines)


def test_the_live_table_shows_the_columns_and_goes_away(tmp_path: Path) -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=140, height=40, color_system=None)
    with progress(console) as observe:
        assert isinstance(observe, LiveTable)
        run(tmp_path, WORDS, observe)
        frame = stream.getvalue()
    for column in ("#", "skeleton", "slots", "operator", "quick", "full", "why"):
        assert column in frame
    assert "GRD-MISMATCH" in frame


class _Speechless(ScriptedAgent):
    """Its answers cost something; every third holds no mechanism, and one of them was not counted."""

    def propose(self, task: Task, parent: Outcome | None, evidence: Evidence) -> Proposal:
        made = super().propose(task, parent, evidence)
        spent = replace(made, answers=2, tokens=10, usd=0.25)
        if evidence.position % 3 != 2:
            return spent
        return replace(spent, source="", problem="expected a mechanism, got talk.", uncounted=1, unpriced=1)


class _Talker(ScriptedAgent):
    """No answer holds a mechanism."""

    def propose(self, task: Task, parent: Outcome | None, evidence: Evidence) -> Proposal:
        made = super().propose(task, parent, evidence)
        return replace(made, source="", problem="expected a mechanism, got talk.", answers=1)


def test_a_run_without_a_usable_answer_says_where_to_look(tmp_path: Path) -> None:
    words = ["talk", "more"]
    result = run(tmp_path, words, agent=_Talker)
    assert exit_code(result) == 5
    assert "no answer held a mechanism" in last_sentence(result)


def test_answers_without_a_mechanism_are_told_and_paid_for_but_not_judged(tmp_path: Path) -> None:
    words = ["a", "wrong", "talk", "b", "0", "talk"]
    result = run(tmp_path, words, agent=_Speechless)
    counts = ledger(result.settings, result.state)
    assert {name: counts[name] for name in ("attempted", "unusable", "duplicate", "valid_submissions")} == {
        "attempted": 6,
        "unusable": 2,
        "duplicate": 1,
        "valid_submissions": 4,
    }
    assert (counts["llm_answers"], counts["llm_tokens"], counts["usd"]) == (12, 60, 1.5)
    assert (counts["llm_answers_uncounted"], counts["llm_answers_unpriced"]) == (2, 2)
    text = printed(result)
    assert "expected a mechanism, got talk." in " ".join(text.split())
    assert re.search(r"USD +1.5000, and 2 answers unknown", text)
    assert re.search(r"valid submissions +4 of 6", text)
    assert [row["status"] for row in document(result)["proposals"]].count("unusable") == 2
