from __future__ import annotations

from collections import Counter

import pytest

from harness.errors import WrongUsage
from harness.policies.at_random import AtRandom
from harness.policies.by_status import ByStatus
from harness.policies.one_shot import OneShot
from harness.policies.opening import POLICIES, open_policy
from tests.harness.policies.made_up import chosen, outcome


def test_one_shot_drafts_and_is_told_nothing() -> None:
    found = [outcome(n) for n in range(8)]
    choices = OneShot().choose(found, range(8, 16), seed=0)
    assert all(c.parent is None and c.operator == "draft" and not c.feedback for c in choices)


def test_at_random_grows_from_anything_that_was_a_mechanism_about_every_other_time() -> None:
    found = [outcome(0, "rejected"), outcome(1, "admitted"), outcome(2, "duplicate"), outcome(3, "unusable")]
    counts = Counter(parent for _, parent in chosen(AtRandom(), found, 400))
    assert set(counts) == {None, 0, 1}
    assert 150 < counts[None] < 250
    assert 60 < counts[0] < 140


def test_without_outcomes_everything_is_fresh() -> None:
    for name in POLICIES:
        assert {parent for _, parent in chosen(open_policy(name), [], 20)} == {None}


def test_duplicates_and_pending_ones_are_never_parents() -> None:
    found = [outcome(0, "duplicate"), outcome(1, "pending"), outcome(2, "unusable"), outcome(3, "clean")]
    for name in POLICIES:
        assert {parent for _, parent in chosen(open_policy(name), found, 50)} <= {None, 3}


def test_many_rejections_do_not_crowd_out_what_was_admitted() -> None:
    found = [*(outcome(n, "rejected") for n in range(50)), outcome(50, "admitted")]
    kinds = {None: "fresh", 50: "admitted"}
    counts = Counter(kinds.get(parent, "rejected") for _, parent in chosen(ByStatus(), found, 400))
    assert counts["admitted"] > counts["fresh"] > counts["rejected"] > 0


@pytest.mark.parametrize("name", POLICIES)
def test_choices_depend_on_the_arguments_alone(name: str) -> None:
    found = [outcome(n, status) for n, status in enumerate(["clean", "rejected", "admitted", "clean"] * 4)]
    policy = open_policy(name)
    assert chosen(policy, found) == chosen(policy, found)
    varies = any(chosen(policy, found, 64, seed) != chosen(policy, found, 64) for seed in (1, 2))
    assert varies is (name != "one-shot")


def test_an_unknown_policy_is_wrong_usage() -> None:
    with pytest.raises(WrongUsage, match="expected one of by-status, one-shot"):
        open_policy("best")
