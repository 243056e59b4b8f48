from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from harness.agents.protocol import Evidence, Outcome, Proposal, Task
from harness.engine.allowance import Allowance, Spent
from harness.engine.design import DesignResult, run_design
from harness.engine.members import Member, deal
from harness.engine.settings import Settings
from harness.objectives.lines import Lines
from harness.policies.by_status import ByStatus
from harness.policies.one_shot import OneShot
from harness.report.ledger import ledger
from tests.harness.engine.fake_judge import open_fake
from tests.harness.engine.scripted_agent import TASK, ScriptedAgent, settings

WORDS = ["a", "wrong", "b", "c", "fat", "d", "wrong", "e", "f", "g", "h", "i"]


class _Paid(ScriptedAgent):
    """A model: every proposal is an answer of 100 tokens for ten cents."""

    def propose(self, task: Task, parent: Outcome | None, evidence: Evidence) -> Proposal:
        proposal = super().propose(task, parent, evidence)
        return Proposal(**{**vars(proposal), "answers": 1, "tokens": 100, "usd": 0.1})


def member(name: str, share: int = 1, **limits: float) -> Member:
    allowance = Allowance(**limits)  # type: ignore[arg-type]
    return Member(agent=_Paid(WORDS), policy=ByStatus(), name=name, share=share, allowance=allowance)


def run(
    folder: Path, members: tuple[Member, ...], *, seconds: float | None = None, **limits: float
) -> DesignResult:
    fields = {**vars(settings(WORDS)), "members": tuple(one.settings for one in members), **limits}
    return run_design(
        Settings(**fields),
        TASK,
        members,
        objective=Lines(),
        out=folder / "out",
        runs=folder / "runs",
        judges=open_fake,
        workers=1,
        observe=lambda state, message: None,
        seconds=seconds,
    )


def made(result: DesignResult) -> Counter[str]:
    return Counter(entry.member for entry in result.state.entries)


def test_members_take_turns_by_their_shares() -> None:
    dealt = deal([member("one", 2), member("two", 1)], {}, 9)
    assert [one.name for one in dealt[:3]] == ["one", "one", "two"]
    assert Counter(one.name for one in dealt) == {"one": 6, "two": 3}


def test_who_joins_late_or_missed_turns_catches_up() -> None:
    dealt = deal([member("one"), member("two")], {"one": 4, "two": 0}, 4)
    assert [one.name for one in dealt] == ["two"] * 4


def test_every_member_knows_its_own_outcomes_only(tmp_path: Path) -> None:
    members = (member("one"), member("two"))
    run(tmp_path, members)
    for one in members:
        assert isinstance(one.agent, ScriptedAgent)
        assert [len(statuses) for _, statuses in one.agent.told] == [0, 0, 2, 2, 4, 4]


def test_without_feedback_an_agent_is_told_of_no_outcome(tmp_path: Path) -> None:
    agent = _Paid(WORDS)
    run(tmp_path, (Member(agent=agent, policy=OneShot(), name="control"),))
    assert {statuses for _, statuses in agent.told} == {()}


def test_an_ensemble_is_one_run_and_one_ledger(tmp_path: Path) -> None:
    result = run(tmp_path, (member("one", 2), member("two")))
    counts = ledger(result.settings, result.state)
    assert made(result) == {"one": 8, "two": 4}
    assert [row["attempted"] for row in counts["agents"]] == [8, 4]
    for name in ("attempted", "rejected", "admitted", "valid_submissions", "llm_tokens"):
        assert sum(row[name] for row in counts["agents"]) == counts[name]
    assert counts["tokens_per_admitted"] == pytest.approx(1200 / counts["admitted"], abs=0.1)


@pytest.mark.parametrize(
    ("limits", "said", "proposals"),
    [
        ({"tokens": 300}, "the budget of 300 tokens is used up (400 tokens)", 4),
        ({"usd": 0.5}, "the budget of 0.5000 USD is used up (0.8000 USD)", 8),
        ({}, "the budget of 12 proposals is used up (12 proposals)", 12),
    ],
)
def test_a_run_stops_at_the_first_budget_reached_and_says_which(
    tmp_path: Path, limits: dict[str, float], said: str, proposals: int
) -> None:
    result = run(tmp_path, (member("one"),), **limits)
    assert result.stopped == said
    assert len(result.state.entries) == proposals
    again = run(tmp_path, (member("one"),), **limits)
    assert (again.stopped, len(again.state.entries)) == (said, proposals)


def test_a_run_out_of_time_goes_on_when_it_is_given_more(tmp_path: Path) -> None:
    stopped = run(tmp_path, (member("one"),), seconds=1e-9)
    assert "s is used up" in stopped.stopped
    assert len(stopped.state.entries) == 4
    whole = run(tmp_path, (member("one"),))
    assert len(whole.state.entries) == 12
    assert len(run(tmp_path, (member("one"),), seconds=1e-9).state.entries) == 12


def test_who_has_spent_its_own_budget_leaves_the_rest_to_the_others(tmp_path: Path) -> None:
    result = run(tmp_path, (member("poor", tokens=200), member("rich")))
    assert made(result) == {"poor": 2, "rich": 10}


def test_a_run_whose_agents_have_all_spent_theirs_ends(tmp_path: Path) -> None:
    result = run(tmp_path, (member("one", proposals=3), member("two", usd=0.2)))
    assert result.stopped == "the budget of every agent is used up"
    assert made(result) == {"one": 3, "two": 2}


def test_budgets_are_reached_in_the_order_of_their_limits() -> None:
    spent = Spent(proposals=3, tokens=500, usd=0.25, seconds=61.0)
    assert Allowance().reached(spent) is None
    assert Allowance(proposals=4, tokens=501, usd=0.26, seconds=62.0).reached(spent) is None
    reached = Allowance(tokens=500, seconds=60.0).reached(spent)
    assert reached == "the budget of 500 tokens is used up (500 tokens)"
    assert Allowance(seconds=61.0).reached(spent) == "the budget of 61 s is used up (61 s)"
