from __future__ import annotations

from pathlib import Path

import pytest

from harness.commands.design_agents import AgentRequest
from harness.commands.ensemble import agents_of, load_ensemble
from harness.engine.allowance import Allowance
from harness.errors import WrongUsage


def written(folder: Path, text: str) -> Path:
    path = folder / "agents.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_agents_are_a_file_not_code(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").touch()
    path = written(
        tmp_path,
        """
        [[agents]]
        agent = "replay"
        model = "big"
        policy = "greedy"
        answers = "a.jsonl"
        share = 3
        usd = 2.5

        [[agents]]
        name = "control"
        policy = "one-shot"
        proposals = 8
        """,
    )
    greedy, control = load_ensemble(path)
    assert (greedy.name, greedy.kind, greedy.policy, greedy.share) == ("big greedy", "replay", "greedy", 3)
    assert greedy.answers == tmp_path / "a.jsonl"
    assert greedy.allowance == Allowance(usd=2.5)
    assert (control.name, control.kind, control.policy) == ("control", "grammar", "one-shot")
    assert control.allowance == Allowance(proposals=8)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"expected \[\[agents\]\] tables"),
        ("agents = 3", r"expected \[\[agents\]\] tables"),
        ("[[agents]]\n[other]\n", r"got \['agents', 'other'\]"),
        ("[[agents]]\npolcy = 'greedy'", "unknown key 'polcy'; nearest: policy"),
        ("[[agents]]\npolicy = 'best'", "expected one of by-status"),
        ("[[agents]]\nagent = 'human'", "grammar, openai or replay, got 'human'"),
        ("[[agents]]\nshare = 0", "expected share to be a whole number from 1"),
        ("[[agents]]\nshare = true", "expected share to be a whole number from 1"),
        (f"[[agents]]\nshare = 1{'0' * 320}", "expected share to be a whole number from 1 to"),
        ("[[agents]]\nusd = -1.0", "expected usd to be a number above 0"),
        ("[[agents]]\nusd = inf", "expected usd to be a number above 0"),
        ("[[agents]]\nmodel = 7", "expected model to be a text"),
        ("[[agents]]\nmodel = 'm'", "--model: .* --agent grammar"),
        ("[[agents]]\n[[agents]]\n", "expected each name once, got grammar by-status again"),
        ("[[agents]", "expected TOML"),
    ],
)
def test_anything_else_is_wrong_usage_that_says_where(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(WrongUsage, match=message):
        load_ensemble(written(tmp_path, text))


def test_a_missing_file_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(WrongUsage, match="cannot be read"):
        load_ensemble(tmp_path / "none.toml")


def test_options_of_a_single_agent_do_not_go_with_a_file(tmp_path: Path) -> None:
    path = written(tmp_path, "[[agents]]")
    assert agents_of(AgentRequest(policy="greedy"), None) == (AgentRequest(policy="greedy"),)
    assert agents_of(AgentRequest(), path) == load_ensemble(path)
    with pytest.raises(WrongUsage, match="Leave out --agent"):
        agents_of(AgentRequest(policy="greedy"), path)


def test_two_agents_do_not_record_in_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    one = '[[agents]]\nagent = "openai"\nmodel = "m"\nname = "{}"\nanswers = "{}"\n'
    path = written(tmp_path, one.format("a", "x.jsonl") + one.format("b", "./x.jsonl"))
    with pytest.raises(WrongUsage, match="a file of answers for each agent"):
        load_ensemble(path)
    assert len(load_ensemble(written(tmp_path, one.format("a", "x") + one.format("b", "y")))) == 2
