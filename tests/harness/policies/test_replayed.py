"""Every policy with recorded answers that hold right, wrong, cheating and broken files, without a key."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from harness.agents.llm.agent import LLMAgent
from harness.agents.llm.recording import Recorder, Replay
from harness.agents.protocol import Agent, Skeleton, Task
from harness.engine.design import DesignResult, run_design
from harness.engine.members import Member
from harness.engine.settings import Settings
from harness.engine.skeletons import load_skeletons
from harness.objectives.lines import Lines
from harness.policies.opening import POLICIES, open_policy
from harness.store import Store
from tests.crash.answers import WritingModel
from tests.harness.engine.fake_judge import open_reading

BUDGET = 12


@pytest.fixture(scope="module")
def skeletons() -> tuple[Skeleton, ...]:
    return load_skeletons("linear_state")


def run(
    folder: Path, agent: Agent, policy: str, skeletons: tuple[Skeleton, ...], workers: int
) -> DesignResult:
    member = Member(agent=agent, policy=open_policy(policy))
    task = Task(skeletons=skeletons, seed=3)
    return run_design(
        Settings.of(
            task,
            (member,),
            Lines(),
            family="linear_state",
            budget=BUDGET,
            admit=BUDGET,
            depth="full",
        ),
        task,
        (member,),
        objective=Lines(),
        out=folder / "out",
        runs=folder / "runs",
        judges=open_reading,
        workers=workers,
        observe=lambda state, message: None,
    )


def events(result: DesignResult) -> list[tuple[int, str, object]]:
    """Every column but clock and cost."""
    with Store(result.run_file, read_only=True) as store:
        return [(event.seq, event.kind, event.body) for event in store.events()]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("policy", POLICIES)
def test_a_policy_runs_to_its_budget_twice_to_the_same_folders_and_events(
    policy: str, skeletons: tuple[Skeleton, ...], tmp_path: Path
) -> None:
    answers = tmp_path / "answers.jsonl"
    recorder = Recorder(WritingModel(skeletons), answers)
    recorded = run(tmp_path / "first", LLMAgent(recorder, {}), policy, skeletons, 2)
    recorder.release()
    one = run(tmp_path / "one", LLMAgent(Replay(answers), {}), policy, skeletons, 1)
    assert events(one)[1:] == events(recorded)[1:]  # the first holds the settings: who answered
    assert contents(tmp_path / "one" / "out") == contents(tmp_path / "first" / "out") != {}
    assert f"the budget of {BUDGET} proposals is used up" in one.stopped
    with Store(one.run_file, read_only=True) as store:
        said = [e.body["conversation"] for e in store.events() if e.kind == "proposed"]
        assert all([role for role, _ in turns][:2] == ["system", "user"] for turns in said)
        assert {turns[-1][0] for turns in said} == {"assistant"}
        prompts = [store.source(turns[1][1]).decode() for turns in said]
    assert [f"This is proposal {n} of search 3" in text for n, text in enumerate(prompts, 1)] == [
        True
    ] * BUDGET
    statuses = Counter(entry.status for entry in one.state.entries)
    assert {"admitted", "rejected", "unusable"} <= set(statuses)
    rules = {rule for entry in one.state.with_status("rejected") for rule in entry.outcome().rules}
    assert {"GRD-VALUE", "POL-IMPORT", "PAR-SYNTAX"} <= rules
