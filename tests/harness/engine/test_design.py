from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from harness.engine import design
from harness.engine.design import DesignResult, run_design
from harness.engine.pool import JudgeFactory
from harness.engine.rounds import Observer
from harness.engine.settings import Settings
from harness.engine.state import RunState
from harness.errors import HarnessError
from harness.locks import exclusive
from harness.objectives.lines import Lines
from harness.report.design_summary import document, exit_code
from harness.store import Store
from tests.harness.engine.fake_judge import open_counting, open_failing, open_fake
from tests.harness.engine.scripted_agent import TASK, ScriptedAgent, alone, settings

ROOT = Path(__file__).resolve().parents[3]
WORDS = ["a", "wrong", "b", "0", "fat", "c", "wrong", "d", "e", "f"]


def run(
    folder: Path,
    words: Sequence[str] = WORDS,
    *,
    how: Settings | None = None,
    judges: JudgeFactory = open_fake,
    workers: int = 1,
    agent: ScriptedAgent | None = None,
    observe: Observer = lambda state, message: None,
) -> DesignResult:
    return run_design(
        how or settings(words),
        TASK,
        alone(agent or ScriptedAgent(words)),
        objective=Lines(),
        out=folder / "out",
        runs=folder / "runs",
        judges=judges,
        workers=workers,
        observe=observe,
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def told(result: DesignResult) -> dict[str, Any]:
    """The document without what depends on the folder."""
    text = json.dumps(document(result)).replace(str(result.run_file.parents[2]), "")
    return dict(json.loads(text))


def events(result: DesignResult) -> list[tuple[int, str, Any]]:
    """Every column but clock and cost."""
    with Store(result.run_file, read_only=True) as store:
        return [(event.seq, event.kind, event.body) for event in store.events()]


def test_every_kind_of_outcome_is_told(tmp_path: Path) -> None:
    result = run(tmp_path)
    statuses = Counter(entry.status for entry in result.state.entries)
    assert statuses == {"admitted": 6, "rejected": 3, "duplicate": 1}
    assert exit_code(result) == 0
    ledger = document(result)["ledger"]
    assert ledger["invalid"] == {"CMP-SHARED": 1, "GRD-MISMATCH": 2}
    assert ledger["attempted"] == 10
    assert result.state.entries[3].same_as == 0


def test_admitted_folders_hold_mechanism_verdict_and_measurements(tmp_path: Path) -> None:
    result = run(tmp_path)
    assert len(result.folders) == 6
    for position, folder in result.folders.items():
        entry = result.state.entries[position]
        assert folder.name.startswith(f"{entry.proposal.slug}-")
        assert (folder / "mechanism.py").read_text() == entry.proposal.source
        verdict = json.loads((folder / "verdict.json").read_bytes())
        assert verdict["admission"] == "admitted"
        assert len(verdict["behaviour"]) == 128
        assert (folder / "measured" / "cpu.json").is_file()
    assert sorted((tmp_path / "out" / "linear_state").iterdir()) == sorted(result.folders.values())


def test_results_do_not_depend_on_the_number_of_workers(tmp_path: Path) -> None:
    one, two = run(tmp_path / "1", workers=1), run(tmp_path / "2", workers=2)
    assert told(one) == told(two)
    assert contents(tmp_path / "1" / "out") == contents(tmp_path / "2" / "out")


def test_feedback_comes_at_the_end_of_a_round(tmp_path: Path) -> None:
    agent = ScriptedAgent(WORDS)
    run(tmp_path, agent=agent)
    assert [len(statuses) for _, statuses in agent.told] == [0] * 4 + [4] * 4 + [8] * 2
    assert agent.told[4][1] == ("admitted", "rejected", "admitted", "duplicate")


def test_a_finished_run_is_told_again_without_judging(tmp_path: Path) -> None:
    log = tmp_path / "log"
    first = run(tmp_path, judges=partial(open_counting, log))
    judged = log.read_text()
    agent = ScriptedAgent(WORDS)
    again = run(tmp_path, judges=partial(open_counting, log), agent=agent)
    assert log.read_text() == judged
    assert agent.told == []
    assert told(again) == told(first)


def test_a_lost_folder_is_written_again(tmp_path: Path) -> None:
    first = run(tmp_path)
    before = contents(tmp_path / "out")
    lost = first.folders[0]
    for file in sorted(lost.rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    lost.rmdir()
    run(tmp_path)
    assert contents(tmp_path / "out") == before


def test_a_run_stopped_anywhere_goes_on_to_the_same_end(tmp_path: Path) -> None:
    uninterrupted = run(tmp_path / "whole")
    whole, wanted = told(uninterrupted), events(uninterrupted)
    broken = tmp_path / "broken"

    class Stop(Exception):
        pass

    for stop in range(1, 60, 2):
        count = 0

        def observe(state: RunState, message: str, stop: int = stop) -> None:
            nonlocal count
            count += 1
            if count == stop:
                raise Stop

        try:
            result = run(broken, workers=2, observe=observe)
        except Stop:
            continue
        assert told(result) == whole
        assert events(result) == wanted
        assert contents(broken / "out") == contents(tmp_path / "whole" / "out")
        return
    pytest.fail("the run never came to its end")


def test_candidates_that_compute_the_same_are_admitted_once(tmp_path: Path) -> None:
    result = run(tmp_path, ["twin", "twinned", "a"])
    assert [entry.status for entry in result.state.entries] == ["admitted", "duplicate", "admitted"]
    assert result.state.entries[1].behaves_like == 0
    assert sorted(result.folders) == [0, 2]


def test_what_an_earlier_run_computes_is_not_written_twice(tmp_path: Path) -> None:
    first = run(tmp_path, ["twin", "a"])
    second = run(tmp_path, ["twins", "b"], how=settings(["twins", "b"], seed=1))
    assert second.twins == {0: first.folders[0]}
    assert sorted(second.folders) == [1]
    assert not any("twins" in path.read_text() for path in (tmp_path / "out").rglob("mechanism.py"))


def test_the_limit_of_admitted_ends_the_run(tmp_path: Path) -> None:
    result = run(tmp_path, ["a", "b", "c", "d", "e", "f", "g", "h"], how=settings(["a"] * 8, admit=2))
    assert len(result.folders) == 2
    assert len(result.state.entries) == 4
    assert "limit of 2 admitted" in result.stopped
    again = run(tmp_path, ["a", "b", "c", "d", "e", "f", "g", "h"], how=settings(["a"] * 8, admit=2))
    assert told(again) == told(result)


def test_the_limit_is_told_the_same_after_later_rounds_are_known(tmp_path: Path) -> None:
    how = settings(WORDS, admit=5)
    first = run(tmp_path, how=how)
    assert told(run(tmp_path, how=how)) == told(first)


def test_quick_screens_and_admits_nothing(tmp_path: Path) -> None:
    result = run(tmp_path, how=settings(WORDS, depth="quick"))
    assert exit_code(result) == 0
    assert result.folders == {}
    assert {entry.status for entry in result.state.entries} == {"clean", "rejected", "duplicate"}
    assert all(entry.full is None for entry in result.state.entries)


@pytest.mark.parametrize(("words", "code"), [(["wrong", "wrong"], 1), (["fat", "wrong"], 1)])
def test_nothing_admitted_is_exit_code_1(tmp_path: Path, words: list[str], code: int) -> None:
    assert exit_code(run(tmp_path, words)) == code


def test_a_judge_that_breaks_loses_nothing_and_the_next_run_goes_on(tmp_path: Path) -> None:
    words = ["a", "stumble", "b"]
    broken = partial(open_failing, tmp_path / "marker", "always raise")
    with pytest.raises(HarnessError, match="could not be judged"):
        run(tmp_path, words, judges=broken)
    log = tmp_path / "log"
    result = run(tmp_path, words, judges=partial(open_counting, log))
    assert [entry.status for entry in result.state.entries] == ["admitted"] * 3
    assert sum("quick" in line for line in log.read_text().splitlines()) == 1


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    with exclusive(tmp_path / "out"), pytest.raises(HarnessError, match="another run is using it"):
        run(tmp_path)


def test_a_candidate_that_differs_is_never_overwritten(tmp_path: Path) -> None:
    first = run(tmp_path)
    changed = first.folders[0] / "mechanism.py"
    changed.write_text("changed = 1\n")
    with pytest.raises(HarnessError, match="nothing was overwritten"):
        run(tmp_path)
    assert changed.read_text() == "changed = 1\n"


def test_a_killed_run_goes_on_to_the_same_end(tmp_path: Path) -> None:
    whole = told(run(tmp_path / "whole"))
    program = (
        "import sys\nfrom functools import partial\nfrom pathlib import Path\n"
        "from tests.harness.engine.fake_judge import open_slow\n"
        "from tests.harness.engine.test_design import run\n"
        "if __name__ == '__main__':\n    run(Path(sys.argv[1]), judges=partial(open_slow, 0.15), workers=2)\n"
    )
    script = tmp_path / "search.py"
    script.write_text(program)
    broken = tmp_path / "broken"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    search = subprocess.Popen([sys.executable, str(script), str(broken)], env=environment)
    deadline = time.monotonic() + 60.0
    while not list(broken.glob("out/*/*")) and search.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    search.send_signal(signal.SIGKILL)
    assert search.wait() == -9
    result = run(broken)
    assert told(result) == whole
    assert contents(broken / "out") == contents(tmp_path / "whole" / "out")


def stopped_at(folder: Path, message: str) -> None:
    """Run until a change of that name is told."""

    class Stop(Exception):
        pass

    def observe(_state: RunState, told: str) -> None:
        if told == message:
            raise Stop

    with pytest.raises(Stop):
        run(folder, observe=observe)


@pytest.mark.parametrize("number", [6, 8])
def test_what_a_later_round_admitted_waits_for_that_round_when_a_run_goes_on(
    tmp_path: Path, number: int
) -> None:
    whole = events(run(tmp_path / "whole"))
    stopped_at(tmp_path / "broken", f"full #{number} ungated-{number - 1} (draft): admitted")
    assert events(run(tmp_path / "broken")) == whole


def test_a_round_that_was_begun_is_finished_though_everything_is_spent_by_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped_at(tmp_path, "quick #6 ungated-5 (draft): clean")
    monkeypatch.setattr(design, "with_allowance", lambda members, entries: ())
    result = run(tmp_path)
    assert result.stopped == "the budget of every agent is used up"
    assert len(result.state.entries) == 8
    assert all(entry.verdict is not None for entry in result.state.entries if entry.for_the_judge)
