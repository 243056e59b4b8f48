from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.agents.grammar.agent import GrammarAgent
from harness.agents.llm.agent import LLMAgent
from harness.agents.protocol import Evidence
from harness.commands.design_agents import AgentRequest, open_agent, open_members
from harness.engine.allowance import Allowance
from harness.errors import HarnessError, WrongUsage
from tests.harness.agents.llm.loopback import Server
from tests.harness.agents.llm.scripted_model import TASK, answer

pytest.importorskip("openai")


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def opened(folder: Path, **fields: Any) -> Any:
    with open_agent(AgentRequest(**fields), folder) as agent:
        return agent


def test_the_grammar_needs_nothing(tmp_path: Path) -> None:
    assert isinstance(opened(tmp_path), GrammarAgent)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": "m"}, "--model: .* --agent grammar"),
        ({"answers": Path("a")}, "--answers: .* --agent grammar"),
        ({"prices": Path("p")}, "--prices: .* --agent grammar"),
        ({"kind": "openai"}, "Name one by --model"),
        ({"kind": "openai", "model": "m"}, "OPENAI_API_KEY"),
        ({"kind": "replay"}, "Name a file by --answers"),
        ({"kind": "replay", "answers": Path("missing")}, "file of recorded answers"),
    ],
)
def test_options_that_do_not_go_together_are_wrong_usage(fields: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(WrongUsage, match=message):
        opened(tmp_path, **fields)
    assert list(tmp_path.iterdir()) == []


def test_what_openai_answers_is_kept_beside_the_runs_and_replays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Server(answer) as server:
        monkeypatch.setenv("OPENAI_API_KEY", "k")
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        with open_agent(AgentRequest(kind="openai", model="org/m"), tmp_path) as agent:
            first = agent.propose(TASK, None, Evidence(position=0))
            with pytest.raises(HarnessError, match="another run is recording"):
                opened(tmp_path, kind="openai", model="org/m")
    path = tmp_path / "answers" / "org--m.jsonl"
    assert len(path.read_bytes().splitlines()) == 1
    replay = opened(tmp_path, kind="replay", answers=path)
    assert isinstance(replay, LLMAgent)
    assert replay.propose(TASK, None, Evidence(position=0)) == first
    assert replay.name.startswith("replay:org/m:32000:")


@pytest.mark.parametrize(("first", "second"), [("a b", "a--b"), ("日本", "中国"), ("a", "b")])
def test_agents_of_an_ensemble_have_files_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str, second: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    requests = [AgentRequest(kind="openai", model="m", name=name) for name in (first, second)]
    with open_members(requests, tmp_path) as members:
        assert [member.name for member in members] == [first, second]
    assert len(list((tmp_path / "answers").iterdir())) == 2


@pytest.mark.parametrize(
    ("fields", "priced"), [({}, True), ({"allowance": Allowance(usd=1.0)}, False), ({"name": "one"}, True)]
)
def test_a_limit_in_dollars_needs_a_price(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], priced: bool
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    asked = AgentRequest(kind="openai", model="nobodys-model", **fields)
    unpriced = pytest.raises(WrongUsage, match="--usd: expected a price for 'nobodys-model'")
    with unpriced, open_members([asked], tmp_path, priced=priced):
        pass
    prices = tmp_path / "prices.toml"
    prices.write_text('["nobodys-model"]\ninput = 1.0\noutput = 2.0\n')
    with open_members([replace(asked, prices=prices)], tmp_path, priced=priced) as members:
        assert len(members) == 1
    free = AgentRequest(kind="openai", model="nobodys-model")
    with open_members([free], tmp_path) as members:
        assert len(members) == 1
