"""What must hold of a run whose model wrote garbage, as sentences about what does not; and its table."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tests.live_llm.runs import Asked, Record
from verify.rules import RULES

HARMLESS = (1, 5)
"""Exit codes of a run in which everything was rejected, or nothing was there to check."""

_SENTENCE = re.compile(r"expected .+, got .+", re.DOTALL)
_REPEATS = re.compile(r"(same text|computes the same) as #[1-9][0-9]*")
_WHY = 60


@dataclass(frozen=True, kw_only=True)
class Row:
    """One proposal: how its answers finished, and what became of it. `texts` are the answers themselves."""

    number: int
    operator: str
    finish: tuple[str, ...]
    status: str
    why: str
    tokens: int
    texts: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def rows(record: Record, lines: Sequence[Mapping[str, Any]]) -> list[Row]:
    """The proposals of a run, each with the answers that were recorded for it."""
    answers = {line["key"]: line["answer"] for line in lines}
    made = {event["body"]["position"] + 1: event["body"]["proposal"] for event in _proposed(record)}
    found = []
    for told in record.document.get("proposals", ()):
        proposal = made.get(told["number"], {"note": "{}", "tokens": 0})
        note = json.loads(proposal["note"])
        keys = note.get("requests", ())
        found.append(
            Row(
                number=told["number"],
                operator=told["operator"],
                finish=tuple(note.get("finished", ())),
                status=told["status"],
                why=told["why"],
                tokens=proposal["tokens"],
                texts=tuple(answers[key]["text"] for key in keys if key in answers),
            )
        )
    return found


def failures(
    asked: Asked, record: Record, lines: Sequence[Mapping[str, Any]], again: Record
) -> Iterator[str]:
    """Every check that does not hold, as `expected x, got y`. `again` is the replay of the lines."""
    if record.code not in HARMLESS:
        yield f"expected the run to end with exit code 1 or 5, got {record.code}"
    if not record.document:
        yield "expected a document of the run, got none"
        return
    yield from _kept_nothing(record)
    yield from _every_proposal_is_accounted_for(asked, record)
    yield from _every_answer_is_accounted_for(record, lines)
    if again.code != record.code:
        yield f"expected the replay to end with exit code {record.code} too, got {again.code}"
    differing = differences(comparable(record.document), comparable(again.document))
    if differing:
        yield f"expected the replay to tell the same, got differences in {', '.join(differing[:5])}"


def comparable(document: Mapping[str, Any]) -> dict[str, Any]:
    """A document without what must differ between asking and replaying: what clocks said, the agent's name,
    and the run's id, which is made from it.
    """
    if not document:
        return {}
    kept: dict[str, Any] = json.loads(json.dumps({**document, "measured": None, "run": None}))
    kept["sentence"] = kept["sentence"].replace(document["run"], "")
    for one in (*kept["settings"]["members"], *kept["ledger"]["agents"]):
        one["agent"] = None
    return kept


def differences(one: Any, other: Any, path: str = "") -> list[str]:
    """Where two JSON values differ, as paths like `proposals[2].why`."""
    if isinstance(one, dict) and isinstance(other, dict):
        names = sorted({*one, *other})
        parts = [(f"{path}.{name}".lstrip("."), one.get(name), other.get(name)) for name in names]
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = zip(one, other, strict=True)
        parts = [(f"{path}[{number}]", first, second) for number, (first, second) in enumerate(pairs)]
    else:
        return [] if one == other else [path or "the whole"]
    return [found for where, first, second in parts for found in differences(first, second, where)]


def table(found: Sequence[Row]) -> list[str]:
    """One line per proposal, under a head."""
    finish_width = max([6, *(len(_finish(row)) for row in found)])
    lines = [f"{'#':>3} {'operator':9} {'finish':{finish_width}} {'status':9} {'tokens':>7}  why"]
    for row in found:
        why = " ".join(row.why.split())
        shown = why if len(why) <= _WHY else f"{why[: _WHY - 4]} ..."
        finish = f"{_finish(row):{finish_width}}"
        lines.append(f"{row.number:3} {row.operator:9} {finish} {row.status:9} {row.tokens:7,}  {shown}")
    return lines


def _finish(row: Row) -> str:
    return ", ".join(row.finish) or "-"


def _kept_nothing(record: Record) -> Iterator[str]:
    ledger = record.document["ledger"]
    passed = {name: ledger[name] for name in ("admitted", "clean") if ledger[name]}
    if passed:
        yield f"expected no mechanism to pass, got {passed}: read their sources, they may be right"
    if record.kept:
        yield f"expected no folder of a candidate, got {list(record.kept)}"


def _every_proposal_is_accounted_for(asked: Asked, record: Record) -> Iterator[str]:
    proposals = record.document["proposals"]
    numbers = [told["number"] for told in proposals]
    if numbers != list(range(1, asked.budget + 1)):
        yield f"expected proposals 1 to {asked.budget}, got {numbers}"
    if len(list(_proposed(record))) != len(proposals):
        yield f"expected {len(proposals)} events of proposals, got {len(list(_proposed(record)))}"
    ledger = record.document["ledger"]
    counted = sum(ledger[name] for name in ("unusable", "rejected", "duplicate", "clean", "admitted"))
    if not counted == ledger["attempted"] == len(proposals):
        yield (
            f"expected {len(proposals)} attempted proposals in the ledger, each with one status, got "
            f"{ledger['attempted']} and {counted}"
        )
    for told in proposals:
        reason = _unnamed(told)
        if reason:
            yield f"#{told['number']}: expected {reason}, got status {told['status']!r}, why {told['why']!r}"


def _unnamed(told: Mapping[str, Any]) -> str:
    """What is missing of a proposal's reason; nothing where it has one."""
    match told["status"]:
        case "unusable":
            return "" if _SENTENCE.search(told["why"]) else "a sentence that says what was wrong"
        case "rejected":
            rules = {finding["rule"] for finding in told["findings"]}
            named = rules and rules <= RULES.keys() and told["why"] == ", ".join(sorted(rules))
            return "" if named else "the ids of the rules that rejected it"
        case "duplicate":
            return "" if _REPEATS.fullmatch(told["why"]) else "which proposal it repeats"
    return "unusable, rejected or duplicate"


def _every_answer_is_accounted_for(record: Record, lines: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    ledger = record.document["ledger"]
    if ledger["llm_answers"] != len(lines):
        yield f"expected {len(lines)} answers in the ledger, as were recorded, got {ledger['llm_answers']}"
    notes = [json.loads(event["body"]["proposal"]["note"]) for event in _proposed(record)]
    keys = sorted(key for note in notes for key in note["requests"])
    if keys != sorted(line["key"] for line in lines):
        yield f"expected each recorded answer to belong to one proposal, got {len(keys)} and {len(lines)}"
    usages = [line["answer"]["usage"] for line in lines]
    counted = sum(usage["read"] + usage["written"] for usage in usages if usage is not None)
    if (ledger["llm_tokens"], ledger["llm_answers_uncounted"]) != (counted, usages.count(None)):
        yield (
            f"expected {counted} tokens and {usages.count(None)} uncounted answers in the ledger, got "
            f"{ledger['llm_tokens']} and {ledger['llm_answers_uncounted']}"
        )


def _proposed(record: Record) -> Iterator[Mapping[str, Any]]:
    return (event for event in record.events if event["kind"] == "proposed")
