from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.compose.composition import parse
from harness.compose.engines.cached import MemoryCache
from harness.compose.pipeline import Found, OtherTask, Pipeline, Plan
from harness.compose.proxies.request import ProxyRequest, ProxyResult
from harness.compose.study import open_study
from harness.compose.study_folder import read_study
from harness.errors import HarnessError, WrongUsage
from tests.harness.compose.evaluations import DyingEngine, InProcessEngine, quality, result, settings

OTHERS = (
    OtherTask(task="copying", preset="tiny", steps=50),
    OtherTask(task="memory", preset="tiny", steps=70),
)
PLAN = Plan(others=OTHERS, finalists=4, winners=2, agreed=1, seeds=2)


def follow(
    runs: Path,
    *,
    engine: InProcessEngine | None = None,
    steps: int | None = None,
    plan: Plan = PLAN,
    **changes: Any,
) -> Found | None:
    """Run the whole job, or its first `steps` steps only."""
    asked = settings("random", **{"budget": 16, **changes})
    with open_study(asked, runs=runs, engine=engine or InProcessEngine(), cache=MemoryCache()) as study:
        pipeline = Pipeline(study, plan)
        for done, _ in enumerate(pipeline.run(), start=1):
            if done == steps:
                return None
        return pipeline.found


def evaluate_anything(asked: ProxyRequest) -> ProxyResult:
    return result(quality(asked.tokens), asked.steps)


class DyingOnText(DyingEngine):
    """Workers die of some compositions, but on text only."""

    def completed(self, requests: Sequence[ProxyRequest]) -> Iterator[tuple[int, ProxyResult]]:
        on_text = {one.task for one in requests} == {"text"}
        return super().completed(requests) if on_text else InProcessEngine().completed(requests)


def test_the_winner_and_the_plain_transformer_are_scored_on_the_final_split_and_nothing_else_is(
    tmp_path: Path,
) -> None:
    engine = InProcessEngine()
    found = follow(tmp_path, engine=engine)
    assert found is not None
    assert [one.composition for one in found.final] == [found.best, parse("mA M mA M mA M")]
    read = {request.tokens for request in engine.asked if request.split == "final"}
    assert read == {one.composition.tokens for one in found.final}


def test_finalists_are_ordered_by_their_mean_over_all_tasks(tmp_path: Path) -> None:
    found = follow(tmp_path)
    assert found is not None
    assert len(found.finalists) == PLAN.finalists
    means = [one.mean for one in found.finalists]
    assert means == sorted(means, reverse=True)
    assert all(set(one.others) == {"copying/tiny", "memory/tiny"} for one in found.finalists)


def test_finalists_of_a_later_rung_come_before_those_that_did_not_reach_it(tmp_path: Path) -> None:
    found = follow(tmp_path, plan=replace(PLAN, finalists=16), seed=8)
    assert found is not None
    rungs = [one.rung for one in found.finalists]
    assert set(rungs) == {0, 1}
    assert rungs == sorted(rungs, reverse=True)
    means = [one.mean for one in found.finalists]
    assert means != sorted(means, reverse=True)  # by their means alone they would stand otherwise


def test_re_tests_use_seeds_that_the_search_never_had(tmp_path: Path) -> None:
    engine = InProcessEngine()
    follow(tmp_path, engine=engine)
    by_split = {
        split: {request.seed for request in engine.asked if request.split == split}
        for split in ("search", "selection", "final")
    }
    assert all(by_split.values())
    assert not by_split["search"] & by_split["selection"]
    assert not (by_split["search"] | by_split["selection"]) & by_split["final"]


@pytest.mark.parametrize("steps", [1, 20, 60, 70])
def test_a_job_that_was_left_anywhere_ends_as_one_that_was_not(tmp_path: Path, steps: int) -> None:
    whole = follow(tmp_path / "whole")
    follow(tmp_path / "left", steps=steps)
    assert follow(tmp_path / "left") == whole


@pytest.mark.parametrize("alphabet", [("mA", "Mb"), ("M",), ("Mb",)])
def test_a_study_without_attention_or_mlps_is_set_beside_the_plain_transformer_too(
    tmp_path: Path, alphabet: tuple[str, ...]
) -> None:
    engine = InProcessEngine(evaluate_anything)
    found = follow(tmp_path, engine=engine, alphabet=alphabet, layers=4)
    assert found is not None
    plain = parse("mA M mA M")
    assert found.final[-1].composition == plain
    asked = next(one for one in engine.asked if one.split == "final" and one.tokens == plain.tokens)
    assert dict(asked.identities) == {"mA": "mA/1", "M": "M/1"}


def test_without_other_tasks_the_best_trials_are_re_tested_all_the_same(tmp_path: Path) -> None:
    found = follow(tmp_path, plan=replace(PLAN, others=()))
    assert found is not None
    assert len(found.finalists) == PLAN.finalists
    assert all(one.mean == one.fitness for one in found.finalists)
    winners = [one.composition for one in found.finalists[: PLAN.winners]]
    assert set(winners) <= {one.composition for one in found.retested}


def test_finalists_have_the_tasks_that_were_asked_for_whatever_an_earlier_run_asked(tmp_path: Path) -> None:
    follow(tmp_path, steps=68)  # in the middle of the scores on other tasks
    found = follow(tmp_path, plan=replace(PLAN, others=OTHERS[1:]))
    assert found is not None
    assert [set(one.others) for one in found.finalists] == [{"memory/tiny"}] * PLAN.finalists
    assert found == follow(tmp_path / "alone", plan=replace(PLAN, others=OTHERS[1:]))


def test_a_composition_whose_workers_died_scores_as_one_that_knows_nothing(tmp_path: Path) -> None:
    """On text a score is minus bits per byte: zero would be the best there is."""
    text = OtherTask(task="text", preset="tiny", steps=50, chance=-8.0)
    found = follow(tmp_path, engine=DyingOnText("M"), plan=replace(PLAN, others=(text,), finalists=16))
    assert found is not None
    dead = [one for one in found.finalists if one.composition.tokens[0] == "M"]
    assert dead
    assert {one.others["text/tiny"] for one in dead} == {-8.0}


def test_other_tasks_are_asked_once(tmp_path: Path) -> None:
    engine = InProcessEngine()
    follow(tmp_path)
    follow(tmp_path, engine=engine)
    assert not [one for one in engine.asked if one.task in ("copying", "memory")]


def test_a_study_read_from_its_folder_knows_its_winner_and_its_finalists(tmp_path: Path) -> None:
    found = follow(tmp_path)
    assert found is not None
    study = read_study(settings("random", budget=16).study_id, tmp_path)
    assert study.settings == settings("random", budget=16)
    assert study.best() == found.best
    assert tuple(study.retested()) == found.retested
    with open_study(study.settings, runs=tmp_path, engine=InProcessEngine(), cache=MemoryCache()) as opened:
        assert Pipeline(opened, PLAN).finalists() == found.finalists


def test_a_study_whose_mechanism_changed_since_is_not_extrapolated(tmp_path: Path) -> None:
    follow(tmp_path, steps=1)
    study = read_study(settings("random", budget=16).study_id, tmp_path)
    assert study.alphabet(Path("candidates")).tokens == ("mA", "M", "Mb")
    changed = replace(study.settings, identities=(("mA", "mA/1"), ("M", "M/0"), ("Mb", "Mb/1")))
    with pytest.raises(HarnessError, match=r"M: expected the source M/0 .* got M/1\. Restore the candidate"):
        replace(study, settings=changed).alphabet(Path("candidates"))


def test_a_study_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    follow(tmp_path, steps=1)
    with pytest.raises(WrongUsage, match=r"got 'toy-rand'.*There: toy-random-s0-"):
        read_study("toy-rand", tmp_path)


def test_a_damaged_study_file_says_so(tmp_path: Path) -> None:
    follow(tmp_path, steps=1)
    folder = tmp_path / settings("random", budget=16).study_id
    (folder / "study.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(HarnessError, match="expected a run file"):
        read_study(str(folder), tmp_path)
