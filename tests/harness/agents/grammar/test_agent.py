from __future__ import annotations

import pytest

from harness.agents.grammar.agent import GrammarAgent
from harness.agents.grammar.genome import from_note
from harness.agents.grammar.growth import draw
from harness.agents.grammar.slots import content_functions
from harness.agents.grammar.weights import Weights, learned
from harness.agents.protocol import Evidence, Outcome, Proposal, Skeleton, Status, Task
from harness.chance import generator
from harness.policies.by_status import ByStatus
from tests.harness.agents.grammar.small_skeletons import small_task
from verify.findings import Finding
from verify.source.canonical import format_source
from verify.source.identity import fingerprint

AGENT = GrammarAgent()


def judge_by_name(proposal: Proposal) -> Status:
    """A made-up judge: blind edits and exp are wrong, a few of the rest are admitted."""
    if proposal.operator == "point" or "exp" in proposal.slots["feature_map"]:
        return "rejected"
    return "admitted" if "softplus" in proposal.slots["feature_map"] else "clean"


def search(seed: int, count: int, width: int = 8) -> list[Outcome]:
    """Rounds of proposals against the made-up judge."""
    task = small_task(seed)
    known = frozenset(skeleton.fingerprint for skeleton in task.skeletons)
    outcomes: list[Outcome] = []
    for position in range(count):
        finished = tuple(outcomes[: position // width * width])
        (choice,) = ByStatus().choose(finished, [position], seed=seed)
        proposal = AGENT.propose(
            task, choice.parent, Evidence(position=position, outcomes=finished, known=known)
        )
        mark, status = fingerprint(proposal.source), judge_by_name(proposal)
        known |= {mark}
        findings = (Finding(rule="GRD-MISMATCH", message="m"),) if status == "rejected" else ()
        outcomes.append(
            Outcome(position=position, proposal=proposal, fingerprint=mark, status=status, findings=findings)
        )
    return outcomes


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    return search(seed=0, count=40)


def test_the_same_seed_and_verdicts_give_the_same_proposals(outcomes: list[Outcome]) -> None:
    assert search(seed=0, count=12) == outcomes[:12]


def test_another_seed_gives_other_proposals(outcomes: list[Outcome]) -> None:
    other = search(seed=1, count=8)
    assert {o.fingerprint for o in other} != {o.fingerprint for o in outcomes[:8]}


def test_no_text_is_proposed_twice(outcomes: list[Outcome]) -> None:
    marks = [outcome.fingerprint for outcome in outcomes]
    assert len(set(marks)) == len(marks)


def test_every_operator_and_skeleton_takes_part(outcomes: list[Outcome]) -> None:
    assert {o.proposal.operator for o in outcomes} == {
        "draft",
        "crossover",
        "improve",
        "simplify",
        "debug",
        "point",
    }
    assert {o.proposal.skeleton for o in outcomes} == {s.name for s in small_task().skeletons}


def test_every_source_is_canonical_and_told_by_its_note(outcomes: list[Outcome]) -> None:
    for outcome in outcomes[:16]:
        assert format_source(outcome.proposal.source) == outcome.proposal.source
        assert from_note(outcome.proposal.note).slug() == outcome.proposal.slug


def test_what_is_rejected_becomes_rare(outcomes: list[Outcome]) -> None:
    def share(weights: Weights) -> float:
        drawn = (draw(generator(9, "draw", n), weights, "feature_map") for n in range(400))
        return sum("exp" in content_functions(content) for content in drawn) / 400

    assert share(learned(outcomes)) < 0.7 * share(Weights())


def test_debugging_takes_back_a_blind_edit(outcomes: list[Outcome]) -> None:
    edited = next(o for o in outcomes if o.proposal.operator == "point")
    rounds = [AGENT.propose(small_task(n), edited, Evidence(position=0)) for n in range(12)]
    debugged = [p for p in rounds if p.operator == "debug"]
    assert debugged
    before = from_note(edited.proposal.note)
    for proposal in debugged:
        after = from_note(proposal.note)
        assert after.edit is None
        assert after.contents == before.contents


def test_a_task_without_a_known_slot_is_refused() -> None:
    skeleton = Skeleton(name="f/v1/a", source="", fingerprint="", slots={"gate": ("_gate",)})
    with pytest.raises(ValueError, match="feature_map"):
        AGENT.propose(Task(skeletons=(skeleton,), seed=0), None, Evidence(position=0))
