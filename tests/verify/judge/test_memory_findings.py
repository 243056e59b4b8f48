"""What the interpreter saw becomes findings: one rule for each kind of event, at its line."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, get_args

import pytest

from verify.judge.runs import EVENT_RULES, EXPECTED, memory_findings
from verify.judge.session import Executed
from verify.rules import RULES
from verify.triton_cpu.memory.events import EventKind, MemoryEvent, severity_of

KINDS: tuple[EventKind, ...] = get_args(EventKind)


def event(kind: EventKind, **other: Any) -> MemoryEvent:
    place = {"kernel": "_k", "line": 7, "buffer": "q", "offset": 5, "offsets": (5, 6), "program": (1, 0, 2)}
    return MemoryEvent(kind=kind, count=3, **{**place, **other})


def executed(*events: MemoryEvent, uncovered: dict[str, int] | None = None) -> Executed:
    return Executed(
        results={},
        raw={},
        uncovered=uncovered or {},
        changed=(),
        guards=(),
        events=tuple(asdict(one) for one in events),
        counters={"kernels": {}},
    )


@pytest.mark.parametrize("kind", [kind for kind in KINDS if severity_of(kind) == "error"])
def test_an_error_is_a_finding_at_its_line(kind: EventKind) -> None:
    [finding] = memory_findings(executed(event(kind)), "T=3")
    assert (finding.rule, finding.line, finding.where) == (EVENT_RULES[kind], 7, "T=3")
    assert finding.rule in RULES
    assert finding.stage == "MEM"
    assert f"_k: {kind} of q at element 5, 6" in finding.message
    assert finding.message.endswith(EXPECTED[kind])


@pytest.mark.parametrize("kind", [kind for kind in KINDS if severity_of(kind) != "error"])
def test_what_is_no_error_is_no_finding_by_itself(kind: EventKind) -> None:
    assert memory_findings(executed(event(kind)), "T=3") == []


def test_a_conflict_names_both_accesses_and_the_argument() -> None:
    both = event("read-write conflict", argument="x_ptr, y_ptr", other_line=9, other_program=(0, 0, 1))
    [finding] = memory_findings(executed(both), "T=3")
    assert "of q through x_ptr, y_ptr at element" in finding.message
    assert "by program (1, 0, 2), against line 9 by program (0, 0, 1);" in finding.message


def test_a_result_that_is_not_covered_is_found_once_with_a_line_where_one_is_known() -> None:
    missing = event("uncovered output", buffer="output", argument="o_ptr")
    [finding] = memory_findings(executed(missing, uncovered={"output": 12}), "T=3")
    assert (finding.rule, finding.line) == ("MEM-UNCOVERED", 7)
    [finding] = memory_findings(executed(uncovered={"output": 12}), "T=3")
    assert (finding.rule, finding.line) == ("MEM-UNCOVERED", None)
