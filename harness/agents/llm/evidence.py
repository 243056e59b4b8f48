"""What the judge found, for a prompt: rule ids, the smallest counterexample, the lines at fault. Made by code
from findings, the most telling first, and never longer than MAX_EVIDENCE characters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harness.agents.llm.contract import rule_text
from harness.agents.llm.suspects import MOST, Suspicion
from harness.agents.protocol import Outcome
from verify.findings import Finding
from verify.judge.case_text import case_elements

MAX_EVIDENCE = 6_000
"""Characters of evidence in one prompt."""

_SUSPECTS = 30
"""Lines that are marked without being named by the judge."""

_CONTEXT = 2
"""Lines shown before and after one at fault."""

_MESSAGE = 600
_LINE = 160
_TRIED = 12


def rejection(outcome: Outcome, passing: Mapping[str, str]) -> str:
    """Why a proposal was rejected: of each rule the finding with the smallest case, with the lines at fault,
    then what the rules ask, then the other findings. `passing` are files of the same template that the judge
    passes, by name.
    """
    findings = sorted(outcome.findings, key=_size)
    first: dict[str, Finding] = {
        rule: next(finding for finding in findings if finding.rule == rule)
        for rule in dict.fromkeys(finding.rule for finding in outcome.findings)
    }
    others = [finding for finding in outcome.findings if first[finding.rule] is not finding]
    view = _View(outcome.proposal.source, passing)
    pieces = [f"Rejected by {', '.join(outcome.rules)}: {len(outcome.findings)} finding(s)."]
    if outcome.counterexample is not None:
        pieces.append(f"Smallest counterexample: {counterexample(outcome.counterexample)}")
    pieces += [view.told(finding) for finding in first.values()]
    pieces += [f"{rule}: {text}" for rule in first if (text := rule_text(rule))]
    pieces += [view.told(finding, briefly=True) for finding in others]
    return fitted(pieces, MAX_EVIDENCE)


def counterexample(example: Mapping[str, Any]) -> str:
    """One line: which result differs where, by how much, in which case."""
    return (
        f"{example['result']}{example['index']} is {example['got']:.3g}, expected {example['expected']:.3g} "
        f"({example['ratio']:.2g} x tolerance), at {example['case']} ({example['rule']})"
    )


def numbers(outcome: Outcome) -> str:
    """What was measured of a proposal that passed, one number a line."""
    if not outcome.numbers:
        return "The judge passed it; nothing was measured yet."
    return fitted([f"- {name}: {value:.3g}" for name, value in outcome.numbers.items()], MAX_EVIDENCE // 2)


def tried(outcomes: Iterable[Outcome], skeleton: str) -> str:
    """The newest proposals for a skeleton that were mechanisms, and what became of each."""
    rows = [
        f"- {_shortened('; '.join(o.proposal.slots.values()), _LINE)}: {' '.join((o.status, *o.rules))}"
        for o in outcomes
        if o.proposal.skeleton == skeleton and o.proposal.slots
    ]
    return "\n".join(dict.fromkeys(rows[-_TRIED:])) or "- nothing yet"


def failures(outcomes: Sequence[Outcome], parent: Outcome | None, skeleton: str) -> str:
    """What was wrong with the newest answers to the like of this prompt that held no mechanism."""
    position = None if parent is None else parent.position
    problems = [
        outcome.proposal.problem
        for outcome in outcomes
        if outcome.status == "unusable"
        and outcome.proposal.parent == position
        and outcome.proposal.skeleton == skeleton
    ]
    return "\n".join(f"- {_shortened(problem, _MESSAGE)}" for problem in dict.fromkeys(problems[-3:]))


def fitted(pieces: Sequence[str], limit: int) -> str:
    """As many pieces as fit into `limit` characters, in order, and how many did not."""
    kept: list[str] = []
    room = limit - 60  # for the last line
    for piece in pieces:
        if len(piece) + 1 > room:
            break
        kept.append(piece)
        room -= len(piece) + 1
    left = len(pieces) - len(kept)
    return "\n".join([*kept, f"... and {left} more that did not fit."] if left else kept)


def _size(finding: Finding) -> float:
    return case_elements(finding.where or "")


class _View:
    """A file as it is shown in evidence: lines with their numbers, those at fault marked, and none shown anew
    only to be marked again.
    """

    def __init__(self, source: str, passing: Mapping[str, str]) -> None:
        self._lines = source.split("\n")
        self._suspicion = Suspicion(source, passing)
        self._marked: set[int] = set()
        self._suspects = 0

    def told(self, finding: Finding, *, briefly: bool = False) -> str:
        """A finding with its line and, unless `briefly`, with the lines that may have caused it."""
        case = f" [{_shortened(finding.where, _LINE)}]" if finding.where else ""
        told = [f"{finding.rule}: {_shortened(finding.message, _MESSAGE)}{case}"]
        line = finding.line
        seen = briefly and line in self._marked
        if line is not None and 1 <= line <= len(self._lines) and not seen:
            self._marked.add(line)
            around = range(max(1, line - _CONTEXT), min(len(self._lines), line + _CONTEXT) + 1)
            told += [self._shown(number, marked=number in self._marked) for number in around]
        most = min(MOST, _SUSPECTS - self._suspects)
        suspects = None if briefly else self._suspicion.of(finding, told=self._marked, most=most)
        if suspects is not None:
            told += [suspects.why, *(self._shown(number, marked=True) for number in suspects.lines)]
            self._marked.update(suspects.lines)
            self._suspects += len(suspects.lines)
        return "\n".join(told)

    def _shown(self, number: int, *, marked: bool) -> str:
        return f"{'>' if marked else ' '} {number:4} | {_shortened(self._lines[number - 1], _LINE)}"


def _shortened(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 4]} ..."
