from __future__ import annotations

from pathlib import Path

import pytest

from harness.compose.composition import parse
from harness.compose.engines.cached import MemoryCache
from harness.compose.pipeline import Found, OtherTask, Pipeline, Plan, finalists_of
from harness.compose.study import open_study
from harness.compose.study_folder import read_study
from harness.errors import HarnessError, WrongUsage
from tests.harness.compose.evaluations import InProcessEngine, settings

OTHERS = (
    OtherTask(task="copying", preset="tiny", steps=50),
    OtherTask(task="memory", preset="tiny", steps=70),
)
PLAN = Plan(others=OTHERS, finalists=4, winners=2, agreed=1, seeds=2)


def follow(runs: Path, *, engine: InProcessEngine | None = None, steps: int | None = None) -> Found | None:
    """Run the whole job, or its first `steps` steps only."""
    asked = settings("random", budget=16)
    with open_study(asked, runs=runs, engine=engine or InProcessEngine(), cache=MemoryCache()) as study:
        pipeline = Pipeline(study, PLAN)
        for done, _ in enumerate(pipeline.run(), start=1):
            if done == steps:
                return None
        return pipeline.found


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


def test_a_study_read_from_its_folder_knows_its_winner_and_its_finalists(tmp_path: Path) -> None:
    found = follow(tmp_path)
    assert found is not None
    study = read_study(settings("random", budget=16).study_id, tmp_path)
    assert study.settings == settings("random", budget=16)
    assert study.best() == found.best
    assert tuple(study.retested()) == found.retested
    with open_study(study.settings, runs=tmp_path, engine=InProcessEngine(), cache=MemoryCache()) as opened:
        assert finalists_of(opened) == found.finalists


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
