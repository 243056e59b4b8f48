from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.compose.accounting import ledger, spent_by
from harness.compose.composition import Composition, parse
from harness.compose.controls import ControlRun, Statement, control_settings, winner
from harness.compose.engines.cached import MemoryCache
from harness.compose.intervals import Interval
from harness.compose.limits import Limits
from harness.compose.retest import Retested, final, retest
from harness.compose.study import Study, open_study
from harness.compose.study_folder import read_study
from harness.errors import HarnessError, WrongUsage
from tests.harness.compose.evaluations import DyingEngine, InProcessEngine, settings

GOOD, BAD = parse("mA M mA M mA Mb"), parse("Mb Mb Mb Mb Mb Mb")


@pytest.fixture
def engine() -> InProcessEngine:
    return InProcessEngine()


@pytest.fixture
def study(tmp_path: Path, engine: InProcessEngine) -> Iterator[Study]:
    with open_study(settings(budget=16), runs=tmp_path, engine=engine, cache=MemoryCache()) as opened:
        yield opened


def test_winners_are_tested_on_seeds_and_data_that_the_search_never_had(
    study: Study, engine: InProcessEngine
) -> None:
    list(study.run())
    searched = {(one.seed, one.split) for one in engine.asked}
    engine.asked.clear()
    retest(study, [GOOD, BAD], seeds=4)
    tested = {(one.seed, one.split) for one in engine.asked}
    assert {split for _, split in tested} == {"selection"}
    assert {seed for seed, _ in tested}.isdisjoint(seed for seed, _ in searched)
    assert len(tested) == 4
    assert {one.steps for one in engine.asked} == {200}


def test_differences_are_paired_by_seed(study: Study) -> None:
    good, bad = retest(study, [GOOD, BAD, GOOD], seeds=4)
    assert (good.composition, bad.composition) == (GOOD, BAD)
    difference = good.against(bad)
    assert difference.mean == pytest.approx(sum(good.scores) / 4 - sum(bad.scores) / 4)
    assert difference.excludes_zero
    assert good.against(good).mean == 0


def test_the_final_split_is_read_once_and_then_recited(study: Study, engine: InProcessEngine) -> None:
    first = final(study, [GOOD, BAD], seeds=3)
    assert {one.split for one in engine.asked} == {"final"}
    engine.asked.clear()
    assert final(study, [GOOD, BAD], seeds=3) == first
    assert engine.asked == []
    for other in ([GOOD], [BAD, GOOD], [GOOD, BAD, parse("M mA mA mA mA mA")]):
        with pytest.raises(HarnessError, match="read once"):
            final(study, other, seeds=3)
    with pytest.raises(HarnessError, match="read once"):
        final(study, [GOOD, BAD], seeds=4)


def test_a_reading_that_was_interrupted_can_only_be_finished_as_it_was_begun(tmp_path: Path) -> None:
    asked = settings(budget=16)
    with (
        open_study(asked, runs=tmp_path, engine=DyingEngine("Mb"), cache=MemoryCache()) as study,
        pytest.raises(HarnessError, match="every worker died"),
    ):
        final(study, [GOOD, BAD], seeds=3)
    with open_study(asked, runs=tmp_path, engine=InProcessEngine(), cache=MemoryCache()) as study:
        with pytest.raises(HarnessError, match="read once"):
            final(study, [GOOD], seeds=3)
        finished = final(study, [GOOD, BAD], seeds=3)
    with open_study(asked, runs=tmp_path, engine=InProcessEngine(), cache=MemoryCache()) as study:
        assert final(study, [GOOD, BAD], seeds=3) == finished


def test_one_seed_is_refused_before_anything_is_read(study: Study) -> None:
    with pytest.raises(WrongUsage, match="two or more"):
        final(study, [GOOD], seeds=1)
    assert final(study, [BAD], seeds=2)[0].composition == BAD


def test_controls_cost_what_the_searcher_cost_and_share_seeds_and_cache(tmp_path: Path) -> None:
    cache, engine = MemoryCache(), InProcessEngine()
    asked = settings("evolution", budget=32)
    with open_study(asked, runs=tmp_path, engine=engine, cache=cache) as study:
        list(study.run())
        run = ControlRun(study, engine=engine, cache=cache, seeds=4)
        list(run.run())
    searches = {one.sampler: one for one in run.comparison.searches}
    assert list(searches) == ["evolution", "random", "tpe"]
    costs = [one.ledger.steps for one in searches.values()]
    dearest_round = 8 * 100 + 8 * 2 * 200
    assert all(costs[0] <= cost < costs[0] + dearest_round for cost in costs[1:])
    assert searches["random"].ledger.cached >= 8  # the uniform start is the same for all
    for one in run.comparison.searches:
        assert sum(cost for cost, _ in one.spent) == one.ledger.steps
        assert len(one.spent) == one.ledger.complete + one.ledger.pruned
    assert [(one.searcher, one.control) for one in run.comparison.statements] == [
        ("evolution", "random"),
        ("evolution", "tpe"),
    ]


def test_a_searcher_is_not_its_own_control(tmp_path: Path) -> None:
    cache, engine = MemoryCache(), InProcessEngine()
    with open_study(settings("tpe", budget=16), runs=tmp_path, engine=engine, cache=cache) as study:
        list(study.run())
        run = ControlRun(study, engine=engine, cache=cache, seeds=2)
        list(run.run())
    assert [one.sampler for one in run.comparison.searches] == ["tpe", "random"]


def test_a_control_has_the_searchers_settings_but_for_sampler_and_stop() -> None:
    asked = settings("evolution", budget=16)
    control = control_settings(asked, "tpe", steps=4000)
    assert (control.sampler, control.max_steps, control.sized_for) == ("tpe", 4000, 16)
    one = Composition(("mA",) * 6)
    assert control.request(one, index=1, steps=5) == asked.request(one, index=1, steps=5)


def test_a_statement_says_no_more_than_its_interval() -> None:
    def said(low: float, high: float) -> str:
        between = Interval(mean=(low + high) / 2, low=low, high=high, n=5, method="t")
        return Statement(searcher="evolution", control="random", difference=between).beats

    assert [said(0.1, 0.2), said(-0.1, 0.2), said(-0.2, -0.1), said(0.0, 0.0)] == [
        "yes",
        "not shown",
        "no",
        "not shown",
    ]


def test_a_study_without_a_score_has_no_winner(tmp_path: Path) -> None:
    asked = settings(budget=8, limits=Limits(parameters=1))
    with open_study(
        asked,
        runs=tmp_path,
        engine=InProcessEngine(),
        cache=MemoryCache(),
        constraint=lambda _: "parameters: too many",
    ) as study:
        list(study.run())
        with pytest.raises(HarnessError, match="Loosen the limits"):
            winner(study)


def test_scores_survive_the_record() -> None:
    one = Retested(composition=GOOD, scores=(0.5, 0.25), diverged=1)
    assert Retested.from_json(one.to_json()) == one


def test_all_re_tests_are_kept_and_each_is_recorded_once(tmp_path: Path) -> None:
    asked = settings("random", budget=8)
    for _ in range(2):
        with open_study(asked, runs=tmp_path, engine=InProcessEngine(), cache=MemoryCache()) as study:
            list(study.run())
            both = retest(study, [GOOD, BAD], seeds=2)
            retest(study, [BAD], seeds=2)
    read = read_study(asked.study_id, tmp_path)
    assert len(read.state.bodies("retested")) == 2
    assert read.retested() == list(both)


def test_what_was_spent_on_failures_is_counted_to_the_next_trial(tmp_path: Path) -> None:
    asked = settings("random", budget=32)
    with open_study(asked, runs=tmp_path, engine=InProcessEngine(), cache=MemoryCache()) as study:
        list(study.run())
        entries = study.state.entries
    failed = [n for n, entry in enumerate(entries) if entry.fitness is None and entry.steps]
    assert failed == []
    entries[3].fitness = None
    fitness = [entry.fitness for entry in entries if entry.fitness is not None]
    assert [worth for _, worth in spent_by(entries)] == fitness
    assert spent_by(entries)[3][0] == entries[3].steps + entries[4].steps
    assert sum(cost for cost, _ in spent_by(entries)) == ledger(entries).steps
