"""Whole runs: the engine, the agent, the official client and a server on loopback; only the judge is fake."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.agents.llm.agent import LLMAgent
from harness.agents.llm.openai_backend import OpenAIBackend
from harness.agents.llm.prices import Price
from harness.agents.llm.protocol import Backend
from harness.agents.llm.recording import Recorder, Replay
from harness.agents.protocol import Agent, Ask, Evidence, Proposal, Task
from harness.engine.design import DesignResult, Observer, run_design
from harness.engine.state import RunState
from harness.errors import HarnessError
from harness.objectives.lines import Lines
from harness.report.ledger import ledger
from tests.harness.agents.llm.loopback import Reply, Server, fails, in_turn, says
from tests.harness.agents.llm.scripted_model import TASK, UNGATED, answer, whole
from tests.harness.engine.fake_judge import open_fake
from tests.harness.engine.scripted_agent import alone, settings
from verify.source.identity import fingerprint

pytest.importorskip("openai")

PRICES = {"m": Price(input=2.0, output=10.0)}
BUDGET = 16
SETTINGS = replace(settings(["x"] * BUDGET, seed=TASK.seed), width=8)


def run(folder: Path, agent: Agent, observe: Observer = lambda state, message: None) -> DesignResult:
    members = alone(agent)
    return run_design(
        replace(SETTINGS, members=(members[0].settings,)),
        TASK,
        members,
        objective=Lines(),
        out=folder / "out",
        runs=folder / "runs",
        judges=open_fake,
        workers=1,
        observe=observe,
    )


@contextlib.contextmanager
def recording(path: Path, serve: Callable[[dict[str, Any]], Reply]) -> Iterator[Any]:
    """An agent with the real client whose answers are recorded, and the requests that reach the server."""
    with Server(serve) as server:
        recorder = Recorder(OpenAIBackend("m", key="k", url=server.url, retries=1), path)
        try:
            yield LLMAgent(recorder, PRICES), server.requests
        finally:
            recorder.release()


def replayed(folder: Path, answers: Path) -> DesignResult:
    return run(folder, LLMAgent(Replay(answers), PRICES))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def told(result: DesignResult) -> dict[str, Any]:
    """The ledger but for the name of the agent, which says who answered."""
    counts = ledger(result.settings, result.state)
    return {**counts, "agents": [{**agent, "agent": ""} for agent in counts["agents"]]}


def events(result: DesignResult) -> list[tuple[Any, ...]]:
    with sqlite3.connect(result.run_file) as database:
        return database.execute("SELECT seq, kind, body FROM events ORDER BY seq").fetchall()


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recorded") / "answers.jsonl"


@pytest.fixture(scope="module")
def real(answers: Path) -> tuple[DesignResult, list[dict[str, Any]]]:
    with recording(answers, answer) as (agent, requests):
        return run(answers.parent, agent), requests


def test_right_wrong_cheating_broken_and_no_files_each_get_their_status(real: Any) -> None:
    result, _ = real
    first = result.state.entries[:8]
    assert [entry.proposal.operator for entry in first] == ["draft"] * 8
    assert [entry.status for entry in (first[0], first[1], first[6])] == ["admitted", "rejected", "admitted"]
    assert [bool(entry.proposal.problem) for entry in first] == [False] * 4 + [True] * 2 + [False, True]
    assert "torch.exp(x) + 9" in result.state.entries[8].proposal.source
    problems = {entry.position: entry.proposal.problem for entry in first if entry.status == "unusable"}
    assert "I would rather not." in problems[4]
    assert "cut off" in problems[5]
    assert "empty" in problems[7]
    assert all(entry.verdict is None for entry in result.state.with_status("unusable"))


def test_every_answer_counts_once_and_what_was_not_counted_is_told(real: Any) -> None:
    result, requests = real
    counts = ledger(result.settings, result.state)
    uncounted = sum(entry.position % 8 == 3 for entry in result.state.entries)
    assert counts["llm_answers"] == len(requests)
    assert counts["llm_answers_uncounted"] == counts["llm_answers_unpriced"] == uncounted == 2
    assert counts["llm_tokens"] == 120 * (len(requests) - uncounted)
    assert counts["usd"] == pytest.approx((len(requests) - uncounted) * (100 * 2 + 20 * 10) / 1e6)
    assert counts["attempted"] == BUDGET
    assert counts["unusable"] == len(result.state.with_status("unusable")) >= 3


def test_an_unusable_answer_is_told_what_was_wrong_at_once(real: Any) -> None:
    _, requests = real
    repairs = [r["messages"][-1]["content"] for r in requests if len(r["messages"]) == 4]
    assert any("block 1: expected lines of the file, got 'no', which is not" in text for text in repairs)


def test_later_prompts_hold_what_the_judge_said_of_earlier_rounds(real: Any) -> None:
    result, requests = real
    later = [r["messages"][1]["content"] for r in requests if len(r["messages"]) == 2][8:]
    assert len(later) == 8
    for entry in result.state.entries[8:]:
        prompt = next(text for text in later if f"This is proposal {entry.position + 1} of" in text)
        parent = None if entry.proposal.parent is None else result.state.entries[entry.proposal.parent]
        assert (entry.proposal.operator == "debug") == (parent is not None and parent.status == "rejected")
        if entry.proposal.operator == "debug":
            assert "Smallest counterexample: d_k[0, 1] is nan, expected 0.5" in prompt
        if parent is not None:
            assert parent.proposal.source.rstrip("\n") in prompt


def test_a_replay_gives_the_same_folders_and_the_same_events_every_time(
    real: Any, answers: Path, tmp_path: Path
) -> None:
    one, two = replayed(tmp_path / "1", answers), replayed(tmp_path / "2", answers)
    assert contents(tmp_path / "1" / "out") == contents(tmp_path / "2" / "out")
    assert contents(tmp_path / "1" / "out") == contents(answers.parent / "out")
    assert events(one) == events(two)
    assert events(one)[1:] == events(real[0])[1:]  # the first event names the agent
    assert told(one) == told(real[0])


@pytest.mark.parametrize("stop", [5, 11, 26])
def test_a_run_stopped_anywhere_goes_on_to_the_same_end(
    stop: int, real: Any, answers: Path, tmp_path: Path
) -> None:
    seen = 0

    def observe(state: RunState, message: str) -> None:
        nonlocal seen
        seen += 1
        if seen == stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, LLMAgent(Replay(answers), PRICES), observe)
    again = replayed(tmp_path, answers)
    assert told(again) == told(real[0])
    assert contents(tmp_path / "out") == contents(answers.parent / "out")


def round_of(agent: LLMAgent) -> list[Proposal]:
    asks = [Ask(parent=None, evidence=Evidence(position=position)) for position in range(8)]
    agent.prepare(TASK, asks)
    return [agent.propose(TASK, None, ask.evidence) for ask in asks]


def test_a_round_that_was_stopped_pays_for_no_answer_twice(tmp_path: Path) -> None:
    seen = 0

    def breaks(request: dict[str, Any]) -> Reply:
        nonlocal seen
        seen += 1
        return fails(401, "the key has expired") if seen == 5 else answer(request)

    path = tmp_path / "answers.jsonl"
    with recording(path, breaks) as (agent, requests), pytest.raises(HarnessError, match="expired"):
        round_of(agent)
    kept = len(path.read_bytes().splitlines())
    assert kept == len(requests) - 1 >= 7
    with recording(path, answer) as (agent, requests):
        proposals = round_of(agent)
    assert sum(proposal.answers for proposal in proposals) == kept + len(requests)
    assert len(path.read_bytes().splitlines()) == kept + len(requests)


def test_a_round_that_is_cancelled_lets_go_of_its_requests_and_makes_no_more(tmp_path: Path) -> None:
    asked = threading.Event()

    def slow(request: dict[str, Any]) -> Reply:
        asked.set()
        return replace(answer(request), delay=20.0)

    with recording(tmp_path / "a", slow) as (agent, requests), ThreadPoolExecutor(1) as thread:
        prepared = thread.submit(round_of, agent)
        assert asked.wait(10.0)
        agent.cancel()
        with pytest.raises(asyncio.CancelledError):
            prepared.result(timeout=10.0)
        with pytest.raises(asyncio.CancelledError):
            round_of(agent)
    asked_for = [request["messages"][-1]["content"] for request in requests]
    assert len(set(asked_for)) == len(asked_for)  # of the second round none, and it would ask the same
    assert (tmp_path / "a").read_bytes() == b""


def test_faults_of_the_server_change_no_proposal_and_no_count(real: Any, tmp_path: Path) -> None:
    seen: Counter[str] = Counter()

    def faulty(request: dict[str, Any]) -> Reply:
        """Busy, broken, and gone in the middle of the answer, in turn, the first time that four of the
        questions are asked.
        """
        question = str(request["messages"])
        seen[question] += 1
        number = len(seen)
        if seen[question] > 1 or number > 8 or number % 2:
            return answer(request)
        broken = replace(says("half of this"), drop=True)
        return (fails(429, retry_after_ms="1"), fails(500, retry_after_ms="1"), broken)[number // 2 % 3]

    with recording(tmp_path / "answers.jsonl", faulty) as (agent, requests):
        proposals = round_of(agent)
    assert proposals == [entry.proposal for entry in real[0].state.entries[:8]]
    assert len(requests) == sum(proposal.answers for proposal in proposals) + 4


def test_with_and_without_prepare_proposals_are_the_same(real: Any, answers: Path) -> None:
    agent = LLMAgent(Replay(answers), PRICES)
    proposals = [agent.propose(TASK, None, Evidence(position=position)) for position in (6, 0, 3)]
    assert proposals == [real[0].state.entries[position].proposal for position in (6, 0, 3)]


def propose(backend: Backend, task: Task = TASK) -> Any:
    return LLMAgent(backend, {}).propose(task, None, Evidence(position=0))


def test_an_answer_of_another_template_is_unusable() -> None:
    other = whole("1.0").replace("linear_state/v1/ungated", "linear_state/v1/head_decay")
    with Server(in_turn(says(other))) as server:
        proposal = propose(OpenAIBackend("m", key="k", url=server.url))
    assert "got 'linear_state/v1/head_decay'" in proposal.problem
    assert (proposal.answers, proposal.unpriced) == (2, 2)


def test_the_skeleton_itself_is_no_answer() -> None:
    skeleton = replace(UNGATED, fingerprint=fingerprint(UNGATED.source))
    with Server(in_turn(says(whole("K**-0.5  # as before")), says(whole("1.0")))) as server:
        backend = OpenAIBackend("m", key="k", url=server.url)
        proposal = propose(backend, replace(TASK, skeletons=(skeleton,)))
    assert "got one that was shown" in server.requests[1]["messages"][-1]["content"]
    assert (proposal.problem, proposal.answers) == ("", 2)


def test_white_space_is_brought_into_the_judges_form() -> None:
    loose = whole("1.0  /  (K)").replace('"contract": 1', "'contract'  :  1")
    with Server(in_turn(says(loose))) as server:
        proposal = propose(OpenAIBackend("m", key="k", url=server.url))
    assert '"contract": 1,' in proposal.source
    assert proposal.slots["scale"] == "1.0 / K"
    assert proposal.slug == "ungated-linear-attention"


def test_whatever_an_answer_says_about_itself_can_be_recorded_and_printed() -> None:
    titled = whole("1.0").replace("Linear attention", r"\ud800 \x1b[31m \u202e Linear")
    free = replace(TASK, skeletons=(replace(UNGATED, slots={}),))
    with Server(in_turn(says(titled), says(None, refusal="\ud800 \x1b[31mno"))) as server:
        backend = OpenAIBackend("m", key="k", url=server.url)
        submitted = propose(backend, free)
        refused = propose(backend, free)
    assert submitted.slots["mechanism"].startswith("? [31m Linear")
    assert "? [31mno" in refused.problem
    for text in (submitted.slots["mechanism"], submitted.slug, refused.problem, refused.slug):
        assert text.isprintable()


def test_the_name_says_what_the_answers_depend_on(answers: Path, real: Any) -> None:
    replay = Replay(answers)
    names = {
        LLMAgent(replay, {}).name,
        LLMAgent(replay, {}, label=replay.digest).name,
        LLMAgent(replay, {}, max_tokens=7).name,
    }
    assert len(names) == 3
    assert all(name.startswith("replay:m:") for name in names)
