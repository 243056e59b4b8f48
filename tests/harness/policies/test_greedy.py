from __future__ import annotations

from collections import Counter

from harness.policies.greedy import Greedy
from tests.harness.policies.made_up import chosen, outcome

GREEDY = Greedy()


def test_a_search_begins_with_drafts() -> None:
    assert set(chosen(GREEDY, [])) == {("draft", None)}
    begun = [outcome(n, "admitted") for n in range(3)]
    assert chosen(GREEDY, begun, 4)[:2] == [("draft", None)] * 2
    assert chosen(GREEDY, begun, 4)[2:] == [("improve", 0)] * 2


def test_admission_comes_before_any_score() -> None:
    found = [outcome(n, "clean") for n in range(5)]
    found += [outcome(5, "admitted", score=-3.0), outcome(6, "admitted", score=-2.0), outcome(7, "clean")]
    assert chosen(GREEDY, found, 1) == [("improve", 6)]


def test_what_was_improved_in_vain_gives_way_to_the_next_best_and_in_the_end_to_a_draft() -> None:
    found = [outcome(n, "admitted", score=float(-n)) for n in range(2)]
    found += [outcome(n, "unusable") for n in range(2, 8)]
    assert chosen(GREEDY, found, 10) == [("improve", 0)] * 4 + [("improve", 1)] * 4 + [("draft", None)] * 2
    found += [outcome(n, "duplicate", operator="improve", parent=0) for n in range(8, 11)]
    assert chosen(GREEDY, found, 2) == [("improve", 0), ("improve", 1)]


def test_a_better_child_is_improved_next() -> None:
    found = [outcome(n, "admitted", score=1.0) for n in range(5)]
    found.append(outcome(5, "admitted", operator="improve", parent=0, score=2.0))
    assert chosen(GREEDY, found, 1) == [("improve", 5)]


def test_broken_ones_are_mended_once_each_newest_first_by_half_of_the_proposals() -> None:
    found = [outcome(0, "admitted"), *(outcome(n, "rejected") for n in range(1, 41))]
    choices = chosen(Greedy(patience=100), found, 40)
    mended = [parent for operator, parent in choices if operator == "debug"]
    assert mended == list(range(40, 40 - len(mended), -1))
    assert 10 < len(mended) < 30
    assert Counter(operator for operator, _ in choices)["improve"] == 40 - len(mended)


def test_what_was_mended_and_the_end_of_three_mends_in_a_row_are_left_alone() -> None:
    found = [outcome(n, "clean") for n in range(5)]
    found.append(outcome(5, "rejected"))
    found += [outcome(5 + n, "rejected", operator="debug", parent=4 + n) for n in (1, 2)]
    assert ("debug", 7) in chosen(GREEDY, found, 20)
    assert {parent for operator, parent in chosen(GREEDY, found, 20) if operator == "debug"} == {7}
    found.append(outcome(8, "rejected", operator="debug", parent=7))
    assert all(operator != "debug" for operator, _ in chosen(GREEDY, found, 20))
