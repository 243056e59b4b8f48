"""What the judge found, for a prompt: rule ids, the smallest counterexample, the lines at fault. Made by code
from findings, the most telling first, and never longer than MAX_EVIDENCE characters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harness.agents.llm.contract import rule_text
from harness.agents.protocol import Outcome
from verify.findings import Finding

MAX_EVIDENCE = 6_000
"""Characters of evidence in one prompt."""

_CONTEXT = 2
"""Lines shown before and after one at fault."""

_MESSAGE = 600
_LINE = 160
_TRIED = 12


def rejection(outcome: Outcome) -> str:
    """Why a proposal was rejected: the first finding of each rule with its lines, then the other findings,
    then what the rules ask.
    """
    first: dict[str, Finding] = {}
    for finding in outcome.findings:
        first.setdefault(finding.rule, finding)
    others = [finding for finding in outcome.findings if first[finding.rule] is not finding]
    lines = outcome.proposal.source.split("\n")
    pieces = [f"Rejected by {', '.join(outcome.rules)}: {len(outcome.findings)} finding(s)."]
    if outcome.counterexample is not None:
        pieces.append(f"Smallest counterexample: {counterexample(outcome.counterexample)}")
    pieces += [_told(finding, lines) for finding in first.values()]
    pieces += [f"{rule}: {text}" for rule in first if (text := rule_text(rule))]
    pieces += [_told(finding, lines) for finding in others]
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


def _told(finding: Finding, lines: Sequence[str]) -> str:
    case = f" [{_shortened(finding.where, _LINE)}]" if finding.where else ""
    told = f"{finding.rule}: {_shortened(finding.message, _MESSAGE)}{case}"
    if finding.line is None or not 1 <= finding.line <= len(lines):
        return told
    start = max(1, finding.line - _CONTEXT)
    shown = lines[start - 1 : finding.line + _CONTEXT]
    marked = [
        f"{'>' if number == finding.line else ' '} {number:4} | {_shortened(line, _LINE)}"
        for number, line in enumerate(shown, start=start)
    ]
    return "\n".join([told, *marked])


def _shortened(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 4]} ..."
