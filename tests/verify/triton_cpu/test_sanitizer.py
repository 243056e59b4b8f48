"""Every planted defect of the corpus is reported, where it is and as what it is; its sound twin is not."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from tests.sanitizer.corpus import DEFECTS, SOUND, Case, Ran, read, run
from verify.triton_cpu import private
from verify.triton_cpu.events import MemoryEvent


def runnable(case: Case) -> Case:
    last = case.literal.get("last_triton")
    if last is not None and private.VERSION > last:
        pytest.skip(f"Triton {last[0]}.{last[1]} is the last that has what this kernel uses")
    return case


def told(events: tuple[MemoryEvent, ...], case: Case) -> list[tuple[str, int, int]]:
    also = case.literal.get("also", ())
    return [(event.kind, event.line, event.other_line) for event in events if event.kind not in also]


@pytest.mark.parametrize("name", DEFECTS)
def test_a_planted_defect_is_reported_where_it_is(name: str) -> None:
    case = runnable(read(DEFECTS[name]))
    ran = run(case)
    [line] = case.lines("DEFECT")
    assert [found[:2] for found in told(ran.events, case)] == [(case.literal["event"], line)]
    event = next(event for event in ran.events if event.kind == case.literal["event"])
    assert case.literal["argument"] in event.argument.split(", ")
    assert event.offset == event.offsets[0]
    assert event.count >= len(event.offsets) > 0
    if others := case.lines("OTHER"):
        assert [event.other_line] == others
        assert event.other_program is not None
    assert event.severity == ("order-dependent" if event.kind == "float atomic" else "error")


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_twin_is_not_accused(name: str) -> None:
    case = runnable(read(SOUND[name]))
    ran = run(case)
    benign = case.lines("BENIGN")
    assert [found[:2] for found in told(ran.events, case)] == [
        (case.literal["event"], line) for line in benign
    ]
    assert {event.severity for event in ran.events} <= {"benign"}


def test_every_defect_has_a_twin_and_differs_from_it_in_few_lines() -> None:
    assert set(DEFECTS) == set(SOUND)
    assert len(DEFECTS) >= 45
    for name in DEFECTS:
        one, other = (Counter(path[name].read_text().splitlines()) for path in (DEFECTS, SOUND))
        assert 0 < len(one - other) <= 9, name


def test_every_kind_of_event_is_in_the_corpus() -> None:
    kinds = {read(path).literal["event"] for path in DEFECTS.values()}
    kinds |= {case["event"] for case in (read(path).literal for path in SOUND.values()) if "event" in case}
    assert kinds == set(re.findall(r'"([^"]+)"', str(MemoryEvent.__annotations__ and EVENT_KINDS)))


# -- what is found does not depend on how programs are scheduled -------------------------------------------


SCHEDULED = [name for name in DEFECTS if "programs" not in DEFECTS[name].read_text()]


@pytest.mark.parametrize("name", ["head_forgotten", "stencil_in_place", "transpose_in_place", "one_element_read_back"])
def test_what_is_found_does_not_depend_on_the_order_of_programs(name: str) -> None:
    case = read(DEFECTS[name])
    first = told(run(case).events, case)
    assert first == told(run(case, order="reverse").events, case) == told(run(case).events, case)
