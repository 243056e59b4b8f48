"""Twelve broken candidates: what the judge said of each is turned into evidence, and a recorded answer
repairs it.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.agents.llm.agent import LLMAgent
from harness.agents.llm.evidence import MAX_EVIDENCE
from harness.agents.llm.operators import FREE, plan
from harness.agents.llm.protocol import Completion, Request
from harness.agents.llm.recording import Replay
from harness.agents.llm.texts import canonical, named_template
from harness.agents.protocol import Ask, Evidence, Outcome, Proposal, Skeleton, Task
from harness.engine.judging import open_judge
from harness.engine.pool import Judge
from harness.engine.state import RunState, proposed_body
from harness.store import Store
from tests.harness.agents.llm.broken.__main__ import asked, body
from tests.harness.agents.llm.broken.catalogue import COUNT, TEMPLATES, Broken, candidates, recorded
from verify.judge.case_text import case_elements
from verify.source.identity import fingerprint

CANDIDATES = candidates()
RECORDED = recorded()
CHEAPEST = ("outside_the_slots", "syntax_error", "wrong_shape")
"""Judged again by every test run; the others take a judge longer."""

MOST_MARKED = 30
"""Marked lines in one evidence: a file of 400 lines that is all marked would tell nothing."""

each = pytest.mark.parametrize("candidate", CANDIDATES, ids=lambda candidate: candidate.name)


def template(candidate: Broken) -> str:
    if candidate.name == "syntax_error":  # which no parser reads
        return candidate.base
    return named_template(candidate.source) or ""


def task(candidate: Broken) -> Task:
    """A search in the candidate's family: all its released mechanisms are shown."""
    folder = TEMPLATES / (FREE if template(candidate) == FREE else candidate.base.split("/", 1)[0]) / "v1"
    files = sorted(folder.glob("[a-z]*.py"))
    return Task(
        skeletons=tuple(
            Skeleton(
                name=f"{folder.parent.name}/v1/{file.stem}",
                source=file.read_text(encoding="utf-8"),
                fingerprint=fingerprint(file.read_text(encoding="utf-8")),
                slots={},
            )
            for file in files
        ),
        seed=0,
    )


def rejected(candidate: Broken, folder: Path) -> Outcome:
    """The candidate as an agent gets to know it: proposed, judged, and read back from the run's record."""
    proposal = Proposal(
        source=candidate.source,
        skeleton=template(candidate),
        operator="draft",
        slug=candidate.name,
        slots={},
        note="",
    )
    said = {"position": 0, **RECORDED[candidate.name]["broken"]["judged"]}
    with Store(folder / "run.sqlite") as store:
        store.append_with_source(
            "proposed", proposed_body(0, "0", proposal, "llm"), candidate.source.encode()
        )
        store.append("judged", said, {"measured": {}, "cpu_seconds": 0.0})
        return RunState.replay(store).entries[0].outcome()


def debugging(outcome: Outcome) -> Ask:
    return Ask(parent=outcome, evidence=Evidence(position=1, outcomes=(outcome,), operator="debug"))


def evidence(candidate: Broken, outcome: Outcome) -> str:
    """What the prompt says that the judge found."""
    prompt = plan(task(candidate), debugging(outcome)).messages[1].text
    return prompt.partition("bears on what is wrong):\n")[2].partition("\n\nThe file, as it was judged:")[0]


def marked(text: str) -> set[int]:
    """The numbers of the lines that evidence marks."""
    return {int(line[1:].split("|")[0]) for line in text.split("\n") if line.startswith(">")}


def faults(candidate: Broken) -> list[range]:
    """Numbers of the lines that the repair changes or removes, place by place; where it only adds, of the
    lines beside.
    """
    old, new = candidate.source.split("\n"), candidate.repaired.split("\n")
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    return [
        range(start + 1, stop + 1) if stop > start else range(start, start + 2)
        for tag, start, stop, _, _ in matcher.get_opcodes()
        if tag != "equal"
    ]


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    with open_judge() as opened:
        yield opened


def test_there_are_twelve_and_the_judge_stops_them_in_ten_stages() -> None:
    assert len(CANDIDATES) == COUNT
    found = [
        {finding["rule"] for finding in RECORDED[one.name]["broken"]["judged"]["verdict"]["findings"]}
        for one in CANDIDATES
    ]
    assert [one.name for one, rules in zip(CANDIDATES, found, strict=True) if one.rule not in rules] == []
    assert len({one.rule for one in CANDIDATES}) == COUNT
    assert {one.rule.split("-")[0] for one in CANDIDATES} == set(
        "PAR POL LCK CON NUM GRD PRP MEM SUB CMP".split()
    )


@each
def test_what_is_recorded_is_about_this_text(candidate: Broken) -> None:
    """A text that changed needs `python -m tests.harness.agents.llm.broken` again."""
    for which, source in (("broken", candidate.source), ("repaired", candidate.repaired)):
        said = RECORDED[candidate.name][which]
        assert said["sha256"] == hashlib.sha256(source.encode()).hexdigest()
        assert said["judged"]["verdict"]["depth"] == candidate.depth


@each
def test_evidence_holds_the_rule_the_smallest_case_and_the_lines_at_fault(
    candidate: Broken, tmp_path: Path
) -> None:
    outcome = rejected(candidate, tmp_path)
    text = evidence(candidate, outcome)
    assert len(text) < MAX_EVIDENCE
    assert text.startswith(f"Rejected by {', '.join(outcome.rules)}: ")
    assert f"\n{candidate.rule}: " in text
    smallest = outcome.counterexample
    if smallest is not None:
        assert f"at {smallest['case']} ({smallest['rule']})\n" in text
    elif cases := [f.where for f in outcome.findings if f.rule == candidate.rule and f.where]:
        assert f" [{min(cases, key=case_elements)}]\n" in text.split(f"\n{candidate.rule}: ")[1]
    else:
        assert candidate.rule.startswith(("PAR", "POL", "LCK", "CON")), "only a text needs no case"
    lines = candidate.source.split("\n")
    assert len(faults(candidate)) >= 1
    for fault in faults(candidate):
        assert marked(text) & set(fault), f"{candidate.wrong}: lines {fault} are not marked in\n{text}"
    for number in marked(text):
        assert f"> {number:4} | {lines[number - 1]}" in text
    assert len(marked(text)) <= MOST_MARKED


@each
def test_the_recorded_answer_to_the_evidence_repairs_the_file(candidate: Broken, tmp_path: Path) -> None:
    outcome = rejected(candidate, tmp_path)
    searched, ask = task(candidate), debugging(outcome)
    request = Request(model="m", messages=plan(searched, ask).messages, max_tokens=1000)
    answers = tmp_path / "answers.jsonl"
    answer = Completion(text=candidate.answer, finish="stop").to_json()
    answers.write_text(json.dumps({"key": request.key, "model": "m", "answer": answer}) + "\n")
    agent = LLMAgent(Replay(answers), {}, max_tokens=1000)
    proposal = agent.propose(searched, outcome, ask.evidence)
    assert (proposal.operator, proposal.parent, proposal.problem) == ("debug", 0, "")
    assert proposal.answers == 1
    assert proposal.source == candidate.repaired
    verdict = RECORDED[candidate.name]["repaired"]["judged"]["verdict"]
    assert verdict["findings"] == []
    assert verdict["admission"] == ("admitted" if candidate.depth == "full" else "incomplete")


def same(said: dict[str, Any], again: dict[str, Any]) -> bool:
    """Two answers of the judge, but for the last digits of counterexamples, which a machine may round."""
    cases = [
        [(one["rule"], one["result"], one["case"]) for one in which["judged"]["counterexamples"]]
        for which in (said, again)
    ]
    return said["judged"]["verdict"] == again["judged"]["verdict"] and cases[0] == cases[1]


@pytest.mark.parametrize("name", CHEAPEST)
def test_the_judge_says_again_what_is_recorded(name: str, judge: Judge) -> None:
    candidate = next(one for one in CANDIDATES if one.name == name)
    again = body(judge, candidate.source, name, candidate.depth)
    assert same(RECORDED[name]["broken"], again)


@pytest.mark.thorough
@pytest.mark.timeout(1800)
@each
def test_the_judge_says_again_what_is_recorded_of_broken_and_repaired(
    candidate: Broken, judge: Judge
) -> None:
    assert canonical(candidate.source) == candidate.source, "an agent hands in nothing else"
    for which, again in asked(judge, candidate).items():
        assert same(RECORDED[candidate.name][which], again), which
