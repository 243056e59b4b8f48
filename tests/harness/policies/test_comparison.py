from __future__ import annotations

import io
from functools import partial
from pathlib import Path

import pytest
from rich.console import Console

from harness.engine.judging import open_fresh_judge, open_judge
from harness.engine.recorded_verdicts import read_verdicts
from harness.policies.comparison.__main__ import RECORDED
from harness.policies.comparison.report import print_report, to_json
from harness.policies.comparison.runs import Comparison, Found, differing_events, run_all, run_one
from tests.harness.engine.fake_judge import open_fake

ROOT = Path(__file__).resolve().parents[3]
POLICIES = ("one-shot", "greedy")


def comparison(seeds: int = 2) -> Comparison:
    return Comparison(
        policies=POLICIES,
        seeds=tuple(range(seeds)),
        budget=8,
        depth="quick",
        family="linear_state",
        objective="lines",
    )


def found(policy: str, seed: int, passed: int, best: float | None = -300.0) -> Found:
    return Found(policy=policy, seed=seed, passed=passed, cells=2, best=best, rejected=1, duplicate=0)


def printed(comparison: Comparison, rows: list[Found]) -> str:
    stream = io.StringIO()
    print_report(comparison, rows, Console(file=stream, width=160))
    return stream.getvalue()


def test_every_policy_runs_from_every_seed_and_runs_that_are_there_are_read(tmp_path: Path) -> None:
    told: list[str] = []
    first = list(run_all(comparison(), tmp_path, judges=open_fake, workers=1, told=told.append))
    assert [(one.policy, one.seed) for one in first] == [(p, s) for s in (0, 1) for p in POLICIES]
    assert all(one.passed == 8 - one.duplicate for one in first)
    assert all(one.best is not None and one.best < 0 for one in first)
    assert len(told) == 4
    again = run_all(comparison(), tmp_path, judges=None, workers=1, told=told.append)  # type: ignore[arg-type]
    assert list(again) == first


def test_two_runs_of_the_same_settings_tell_the_same(tmp_path: Path) -> None:
    one = run_one(comparison(), "greedy", 0, tmp_path / "a", judges=open_fake, workers=1)
    two = run_one(comparison(), "greedy", 0, tmp_path / "b", judges=open_fake, workers=2)
    other = run_one(comparison(), "greedy", 1, tmp_path / "c", judges=open_fake, workers=1)
    assert differing_events(one.run_file.parent, two.run_file.parent) == []
    assert differing_events(one.run_file.parent, other.run_file.parent) != []


def test_differences_are_paired_by_seed_and_the_sentence_says_what_they_show() -> None:
    rows = [found("one-shot", seed, 10 * seed) for seed in range(5)]
    rows += [found("greedy", seed, 10 * seed + 3) for seed in range(5)]
    document = to_json(comparison(5), rows)
    difference = document["differences_to_one_shot"]["greedy"]["passed"]
    assert (difference["mean"], difference["low"], difference["high"]) == (3.0, 3.0, 3.0)
    text = printed(comparison(5), rows)
    assert "Told apart from one-shot at 95 %: greedy has more of `passed quick`" in text
    assert "+3.0 [+3.0, +3.0]" in text


def test_where_nothing_is_shown_the_sentence_says_so() -> None:
    rows = [found(policy, seed, 3 + (seed % 2)) for policy in POLICIES for seed in range(4)]
    assert "No policy is told apart from one-shot" in printed(comparison(4), rows)


@pytest.mark.parametrize("best", [None])
def test_a_policy_of_which_a_run_found_nothing_has_no_best(best: float | None) -> None:
    rows = [
        found("one-shot", 0, 0, best),
        found("one-shot", 1, 3),
        found("greedy", 0, 1),
        found("greedy", 1, 2),
    ]
    assert to_json(comparison(), rows)["means"]["one-shot"]["best"] is None
    assert to_json(comparison(), rows)["differences_to_one_shot"]["greedy"]["best"] is None


def test_the_shipped_verdicts_are_of_the_rules_and_the_triton_that_judge_now() -> None:
    verdicts = read_verdicts(ROOT / RECORDED)
    assert len(verdicts) > 100
    assert {depth for _, depth in verdicts} <= {"quick", "full"}


@pytest.mark.thorough
@pytest.mark.timeout(1800)
def test_the_shipped_verdicts_are_what_the_judge_says(tmp_path: Path) -> None:
    # Single shots ask for the same quick verdicts at any depth; `--prove` does this for a run at full depth.
    shipped = Comparison(policies=("one-shot",), seeds=(0, 1), budget=24, depth="quick")
    recorded = partial(open_judge, recorded=ROOT / RECORDED)
    one = run_one(shipped, "one-shot", 0, tmp_path / "a", judges=recorded, workers=1)
    two = run_one(shipped, "one-shot", 0, tmp_path / "b", judges=open_fresh_judge, workers=2)
    assert differing_events(one.run_file.parent, two.run_file.parent) == []
    assert all(entry.cpu_seconds == 0.0 for entry in one.state.entries)
