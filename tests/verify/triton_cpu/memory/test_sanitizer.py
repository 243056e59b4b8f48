"""Every planted defect of the corpus is reported, where it is and as what it is; its sound twin is not."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import get_args

import pytest

from tests.sanitizer.corpus import DEFECTS, SOUND, Case, read, run, unguarded
from verify.judge.runs import EVENT_RULES
from verify.triton_cpu import private
from verify.triton_cpu.memory.events import EventKind, MemoryEvent, severity_of

VALUES = """both_directions_write carry_from_the_program_before constant_by_everyone
counter_set_by_one_program exchange_of_different_values head_forgotten plain_store_over_a_count
ragged_tail_shifted_back stencil_in_place stencil_in_place_forward tiles_overlap transpose_in_place""".split()
"""Races that change a value which a result still holds at the end."""

STORES = [name for name in DEFECTS if read(DEFECTS[name]).literal["event"] == "out-of-bounds store"]


def runnable(case: Case) -> Case:
    last = case.literal.get("last_triton")
    if last is not None and last < private.VERSION:
        pytest.skip(f"Triton {last[0]}.{last[1]} is the last in which this kernel shows what it shows")
    return case


def told(events: tuple[MemoryEvent, ...], case: Case) -> list[tuple[str, int]]:
    also = case.literal.get("also", ())
    return [(event.kind, event.line) for event in events if event.kind not in also]


@pytest.mark.parametrize("name", DEFECTS)
def test_a_planted_defect_is_reported_where_it_is(name: str) -> None:
    case = runnable(read(DEFECTS[name]))
    events = run(case).events
    kind, [line] = case.literal["event"], case.lines("DEFECT")
    assert told(events, case) == [(kind, line)]
    event = next(event for event in events if event.kind == kind)
    assert case.literal["argument"] in event.argument.split(", ")
    assert event.offset == event.offsets[0]
    assert event.count >= len(event.offsets) > 0
    assert event.severity == ("order-dependent" if kind == "float atomic" else "error")
    if others := case.lines("OTHER"):
        assert [event.other_line] == others
        assert event.other_program is not None
    assert run(case, batch=False).events == events


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_twin_is_not_accused(name: str) -> None:
    case = runnable(read(SOUND[name]))
    events = run(case).events
    assert told(events, case) == [(case.literal["event"], line) for line in case.lines("BENIGN")]
    assert {event.severity for event in events} <= {"benign"}


def test_every_defect_has_a_twin_and_differs_from_it_in_few_lines() -> None:
    assert set(DEFECTS) == set(SOUND)
    assert len(DEFECTS) >= 45
    for name in DEFECTS:
        one, other = (Counter(paths[name].read_text().splitlines()) for paths in (DEFECTS, SOUND))
        assert 0 < (one - other).total() <= 9, name


def test_every_kind_of_event_has_a_file() -> None:
    literals = [read(path).literal for path in (*DEFECTS.values(), *SOUND.values())]
    assert {literal["event"] for literal in literals if "event" in literal} == set(get_args(EventKind))


def test_an_event_names_programs_and_elements_of_both_accesses() -> None:
    [event] = run(read(DEFECTS["carry_from_the_program_before"])).events
    assert (event.program, event.other_program) == ((0, 0, 0), (1, 0, 0))
    assert (event.offset, event.count) == (16, 48)
    [event] = run(read(DEFECTS["wraps_back_into_the_tensor"])).events
    assert event.program == (65999, 0, 0)
    assert event.offsets == tuple(65999 * 65536 + lane for lane in range(4))


# -- the second and the third witness ------------------------------------------------------------------------


@pytest.mark.parametrize("name", VALUES)
def test_another_order_of_programs_shows_a_race(name: str) -> None:
    for paths, changes in ((DEFECTS, True), (SOUND, False)):
        case = read(paths[name])
        assert (run(case).contents != run(case, order="reverse").contents) is changes


@pytest.mark.parametrize("name", VALUES)
def test_what_the_shadow_says_of_a_race_does_not_depend_on_the_order_of_programs(name: str) -> None:
    case = read(DEFECTS[name])
    kinds = {event.kind for event in run(case, order="reverse").events}
    assert case.literal["event"] in kinds


@pytest.mark.parametrize("name", STORES)
def test_a_guard_zone_shows_a_store_that_nothing_checks(name: str) -> None:
    defect, twin = runnable(read(DEFECTS[name])), read(SOUND[name])
    assert len(unguarded(defect)) == 1
    assert unguarded(twin) == ()


def test_the_page_names_every_kind_of_event_with_its_severity_and_rule() -> None:
    page = (Path(__file__).resolve().parents[4] / "docs" / "sanitizer.md").read_text(encoding="utf-8")
    table = [line for line in page.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").replace("`|`", "").split("|")] for line in table]
    told = {kind: (row[1], row[2]) for row in rows[2:] for kind in row[0].split(", ")}
    rules = EVENT_RULES | {"float atomic": "MEM-FLOAT-ATOMIC"}
    assert told == {kind: (severity_of(kind), rules.get(kind, "")) for kind in get_args(EventKind)}
