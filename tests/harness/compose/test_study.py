from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest

from harness.chance import generator
from harness.compose.accounting import ledger
from harness.compose.composition import Composition
from harness.compose.engines.cached import MemoryCache
from harness.compose.engines.local import LocalEngine
from harness.compose.engines.protocol import Engine
from harness.compose.limits import Limits
from harness.compose.study import JOURNAL, Study, open_study
from harness.compose.study_settings import StudySettings
from harness.compose.study_state import RECORD
from harness.errors import HarnessError, WrongUsage
from tests.harness.compose.evaluations import DyingEngine, InProcessEngine, evaluate, settings

ROOT = Path(__file__).resolve().parents[3]
Told = list[tuple[object, ...]]


def finished(study: Study) -> Told:
    """All that a study decided."""
    return [(entry.trial, entry.reason, entry.rung_means()) for entry in study.state.finished()]


def finish(
    asked: StudySettings, runs: Path, engine: Engine | None = None, cache: MemoryCache | None = None
) -> Told:
    with open_study(
        asked, runs=runs, engine=engine or InProcessEngine(), cache=cache or MemoryCache()
    ) as study:
        for _ in study.run():
            pass
        return finished(study)


def journal(asked: StudySettings, runs: Path) -> list[tuple[object, ...]]:
    """The trials that Optuna reads, without its times."""
    path = runs / asked.study_id / JOURNAL
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
    study = optuna.load_study(storage=storage, study_name=asked.study_id)
    return [
        (t.number, t.state, t.params, t.values, t.intermediate_values, t.user_attrs) for t in study.trials
    ]


class Killed(BaseException):
    """Stands for a signal that nothing can catch."""


@pytest.mark.parametrize("sampler", ["tpe", "evolution"])
def test_results_depend_neither_on_the_engine_nor_on_completion_order(tmp_path: Path, sampler: str) -> None:
    asked = settings(sampler, budget=20)
    with LocalEngine(evaluate, workers=2) as engine:
        local = finish(asked, tmp_path / "local", engine)
    assert local == finish(asked, tmp_path / "here")
    assert journal(asked, tmp_path / "local") == journal(asked, tmp_path / "here")


@pytest.mark.parametrize("sampler", ["tpe", "evolution"])
def test_a_study_that_ends_after_any_event_goes_on_as_if_it_had_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sampler: str
) -> None:
    asked = settings(sampler, budget=24)
    whole = finish(asked, tmp_path / "whole")
    record = Study.record
    lives, left = 0, 0

    def record_until_killed(study: Study, kind: str, body: dict[str, object]) -> None:
        nonlocal left
        record(study, kind, body)
        left -= 1
        if left == 0:
            raise Killed

    monkeypatch.setattr(Study, "record", record_until_killed)
    while True:
        lives, left = lives + 1, 1 + lives % 7
        try:
            pieces = finish(asked, tmp_path / "pieces")
            break
        except Killed:
            continue
    assert lives > 20
    assert pieces == whole
    assert journal(asked, tmp_path / "pieces") == journal(asked, tmp_path / "whole")


PROGRAM = """
import sys, time
from pathlib import Path
from harness.compose.engines.cached import MemoryCache
from harness.compose.limits import Limits
from harness.compose.study import open_study
from tests.harness.compose.evaluations import InProcessEngine, evaluate, settings

def slow(request):
    time.sleep(0.01)
    return evaluate(request)

print("begun", flush=True)
asked, engine = settings("tpe", budget=40), InProcessEngine(slow)
with open_study(asked, runs=Path(sys.argv[1]), engine=engine, cache=MemoryCache()) as study:
    for _ in study.run():
        pass
"""


def test_kill_9_at_random_moments_changes_nothing(tmp_path: Path) -> None:
    asked = settings("tpe", budget=40)
    rng = generator(0, "kill")
    codes = []
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "killed")]
    for patience in (0.1 + rng.random() * 0.5, 0.1 + rng.random() * 0.5, 60.0):
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            try:
                process.wait(timeout=patience)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
        codes.append(process.returncode)
    assert codes == [-9, -9, 0]
    assert finish(asked, tmp_path / "killed") == finish(asked, tmp_path / "whole")
    assert journal(asked, tmp_path / "killed") == journal(asked, tmp_path / "whole")


@pytest.mark.parametrize("damage", ["torn", "locked", "gone", "foreign", "bent"])
def test_the_journal_is_made_anew_wherever_it_disagrees_with_the_record(tmp_path: Path, damage: str) -> None:
    asked = settings(budget=8)
    whole = finish(asked, tmp_path)
    path = tmp_path / asked.study_id / JOURNAL
    before = journal(asked, tmp_path)
    if damage == "torn":
        path.write_bytes(path.read_bytes()[:-40])
    elif damage == "locked":
        os.symlink(path, f"{path}.lock")
    elif damage == "gone":
        path.unlink()
    elif damage == "bent":  # the last line is whole and no JSON
        path.write_bytes(path.read_bytes()[:-9] + b"\0" * 8 + b"\n")
    else:
        finish(settings(budget=8, seed=1), tmp_path)
        path.write_bytes((tmp_path / settings(budget=8, seed=1).study_id / JOURNAL).read_bytes())
    begun = time.monotonic()
    assert finish(asked, tmp_path) == whole
    assert time.monotonic() - begun < 5.0  # Optuna itself waits 30 s for a lock whose holder is dead
    assert journal(asked, tmp_path) == before


def test_optuna_reads_parameters_rungs_and_why(tmp_path: Path) -> None:
    asked = settings(budget=24, alphabet=("mA", "M"), layers=3)
    with open_study(asked, runs=tmp_path, engine=InProcessEngine(), cache=MemoryCache()) as study:
        list(study.run())
        entries = list(study.state.entries)
    trials = journal(asked, tmp_path)
    assert len(trials) == len(entries) == 8
    states = {entry.outcome: trial[1].name for entry, trial in zip(entries, trials, strict=True)}
    assert states == {"complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}
    for entry, (_, _, params, values, rungs, attributes) in zip(entries, trials, strict=True):
        assert tuple(params[f"layer_{n:02d}"] for n in range(3)) == entry.composition.tokens
        assert list(rungs.values()) == entry.rung_means()
        assert (attributes["composition"], attributes["outcome"]) == (str(entry.composition), entry.outcome)
        assert values == ([entry.fitness] if entry.outcome == "complete" else None)


def test_candidates_share_the_seeds_of_a_rung_and_only_the_promoted_see_the_next(tmp_path: Path) -> None:
    engine = InProcessEngine()
    finish(settings(budget=16), tmp_path, engine)
    seeds = {steps: {one.seed for one in engine.asked if one.steps == steps} for steps in (100, 200)}
    assert len(seeds[100]) == 1
    assert len(seeds[200]) == 2
    assert seeds[100] < seeds[200]
    counts = {steps: sum(one.steps == steps for one in engine.asked) for steps in (100, 200)}
    assert counts[100] == 16
    assert 0 < counts[200] / 2 < 16


def test_divergence_is_failure_and_says_so(tmp_path: Path) -> None:
    asked = settings("exhaustive", budget=8, alphabet=("mA", "M"), layers=3)
    with open_study(asked, runs=tmp_path, engine=InProcessEngine(), cache=MemoryCache()) as study:
        list(study.run())
        (entry,) = [entry for entry in study.state.entries if entry.outcome == "failed"]
    assert str(entry.composition) == "M M M"
    assert (entry.fitness, entry.reason) == (None, "diverged within 100 steps")


def test_repeats_and_what_breaks_a_limit_are_recorded_and_never_evaluated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stubborn:
        name = "stubborn"

        def propose(self, first: int, count: int, history: object) -> list[Composition]:
            return [Composition(("mA",) * 6), Composition(("Mb",) * 6)] * (count // 2)

    monkeypatch.setattr("harness.compose.study.searcher", lambda *_, **__: Stubborn())
    engine = InProcessEngine()
    with open_study(
        settings(budget=8, limits=Limits(parameters=1)),
        runs=tmp_path,
        engine=engine,
        cache=MemoryCache(),
        constraint=lambda one: "parameters: too many" if "Mb" in one.tokens else None,
    ) as study:
        list(study.run())
        outcomes = [(entry.outcome, entry.reason) for entry in study.state.entries]
        cost = ledger(study.state.entries)
    assert {one.tokens[0] for one in engine.asked} == {"mA"}
    assert outcomes[:4] == [
        ("complete", ""),
        ("infeasible", "parameters: too many"),
        ("duplicate", "the same as #1"),
        ("duplicate", "the same as #2"),
    ]
    assert (cost.attempted, cost.duplicate, cost.infeasible, cost.evaluations) == (8, 6, 1, 3)


def test_limits_take_part_in_a_studys_name_and_cannot_be_forgotten(tmp_path: Path) -> None:
    limited = settings(limits=Limits(parameters=1))
    assert limited.study_id != settings().study_id
    with pytest.raises(ValueError, match="constraint"):
        finish(limited, tmp_path)


def test_a_composition_that_kills_workers_fails_and_the_others_go_on(tmp_path: Path) -> None:
    told = finish(settings(budget=16), tmp_path, DyingEngine("Mb"))
    for trial, reason, _ in told:
        assert (reason == "every worker died") == (trial.composition.tokens[0] == "Mb")
        assert (trial.outcome == "failed") == (trial.composition.tokens[0] == "Mb")


def test_a_machine_on_which_every_worker_dies_is_not_blamed_on_compositions(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="nothing finished is lost"):
        finish(settings(budget=16), tmp_path, DyingEngine("mA", "M", "Mb"))
    assert len(finish(settings(budget=16), tmp_path)) == 16


def test_known_evaluations_are_taken_from_the_cache_and_counted_so(tmp_path: Path) -> None:
    cache, second = MemoryCache(), InProcessEngine()
    first = finish(settings(budget=16), tmp_path / "one", cache=cache)
    asked = settings(budget=16)
    with open_study(asked, runs=tmp_path / "two", engine=second, cache=cache) as study:
        list(study.run())
        assert finished(study) == first
        cost = ledger(study.state.entries)
    assert second.asked == []
    assert cost.cached == cost.evaluations > 16
    assert cost.cpu_seconds == 0
    assert cost.steps > 1600


def test_steps_end_a_study_between_rounds(tmp_path: Path) -> None:
    # A first round takes 8 x 100 steps, and 2 x 200 for each of the four that go on.
    assert len(finish(settings(budget=32, max_steps=2400), tmp_path)) == 8
    assert len(finish(settings(budget=32, max_steps=2401), tmp_path)) == 16


def test_two_processes_cannot_have_one_study(tmp_path: Path) -> None:
    with (
        open_study(settings(), runs=tmp_path, engine=InProcessEngine(), cache=MemoryCache()),
        pytest.raises(HarnessError, match="another run is using it"),
    ):
        finish(settings(), tmp_path)


@pytest.mark.parametrize(
    "damage", ["bytes", "event", "settings", "first", "token", "outcome", "rung", "fitness"]
)
def test_a_damaged_record_is_one_line_that_says_what_to_do(tmp_path: Path, damage: str) -> None:
    asked = settings(budget=8)
    finish(asked, tmp_path)
    path = tmp_path / asked.study_id / RECORD
    if damage == "bytes":
        path.write_bytes(b"no database, and more than a header of it " * 40)
    else:
        raw = sqlite3.connect(path)
        raw.execute("DROP TRIGGER events_stay")
        kinds = {"settings": "started", "first": "started", "outcome": "finished", "fitness": "finished"}
        kind = "evaluated" if damage == "rung" else kinds.get(damage, "proposed")
        changes = {
            "settings": "'{}'",
            "token": "replace(body, 'Mb', 'Mc')",
            "outcome": "json_set(body, '$.outcome', 'pwuned')",
            "rung": "json_set(body, '$.rung', 7)",
            "fitness": "json_set(body, '$.fitness', 'high')",
        }
        change = changes.get(damage, "'{nothing'")
        raw.execute(f"UPDATE events SET body = {change} WHERE kind = ?", (kind,))
        raw.commit()
        raw.close()
    with pytest.raises(HarnessError) as caught:
        finish(asked, tmp_path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_journal_that_cannot_be_written_is_one_line_and_loses_nothing(tmp_path: Path) -> None:
    asked = settings(budget=8)
    path = tmp_path / asked.study_id / JOURNAL
    path.mkdir(parents=True)
    with pytest.raises(HarnessError, match="What was finished is kept"):
        finish(asked, tmp_path)
    path.rmdir()
    engine = InProcessEngine()
    finish(asked, tmp_path, engine)
    assert engine.asked == []


def test_settings_that_make_no_study_are_refused() -> None:
    for changes in (
        {"budget": 0},
        {"width": 0},
        {"factor": 1},
        {"transition": 101},
        {"alphabet": ("M", "M")},
    ):
        with pytest.raises(WrongUsage):
            settings(**changes)
    with pytest.raises(WrongUsage, match="identities"):
        settings(identities=(("mA", "1"),))


def test_a_task_with_a_path_in_it_still_names_one_folder() -> None:
    assert settings(task="text//data/My Corpus.jsonl").study_id.startswith(
        "text-data-my-corpus-jsonl-random-s0-"
    )


def test_every_choice_that_matters_gives_the_study_another_name() -> None:
    names = {
        settings().study_id,
        settings("tpe").study_id,
        settings(seed=1).study_id,
        settings(width=4).study_id,
    }
    assert len(names) == 4
    assert settings().study_id == settings().study_id
