from __future__ import annotations

from harness.agents.protocol import Proposal
from harness.engine.selection import choose_full
from harness.engine.state import Entry, RunState
from tests.harness.engine.fake_judge import FakeJudge


def proposal(skeleton: str, feature_map: str) -> Proposal:
    return Proposal(
        source="", skeleton=skeleton, operator="draft", slug="", slots={"feature_map": feature_map}, note=""
    )


def state_of(*kinds: tuple[str, str]) -> RunState:
    state = RunState()
    verdict = FakeJudge().check(b"fine", path="", depth="quick")
    for n, (skeleton, feature_map) in enumerate(kinds):
        entry = Entry(position=n, proposal=proposal(skeleton, feature_map), fingerprint=str(n), same_as=None)
        entry.quick = verdict
        state.entries.append(entry)
    return state


def test_skeletons_and_then_slots_that_differ_come_first() -> None:
    state = state_of(("a", "x"), ("a", "y"), ("a", "x"), ("b", "x"))
    assert choose_full(state, 2) == (0, 3)
    assert choose_full(state, 3) == (0, 1, 3)


def test_what_was_selected_before_is_neither_chosen_again_nor_forgotten() -> None:
    state = state_of(("a", "x"), ("a", "y"), ("b", "x"))
    state.selected[0] = (0,)
    assert choose_full(state, 1) == (2,)
    assert choose_full(state, 5) == (1, 2)


def test_nothing_clean_gives_nothing_to_judge() -> None:
    assert choose_full(RunState(), 3) == ()
