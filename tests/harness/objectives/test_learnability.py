from __future__ import annotations

from pathlib import Path

import pytest

from harness.compose.proxies.request import ProxyRequest, ProxyResult
from harness.objectives.learnability import Learnability
from harness.objectives.protocol import Passed

CANDIDATES = Path(__file__).resolve().parents[3] / "candidates"
SCORES = {0: 0.25, 1: 0.75}


def evaluated(request: ProxyRequest) -> ProxyResult:
    """A made-up training: a score by whether the seed is even, so that two seeds are told apart."""
    return ProxyResult(
        score=0.5 if request.tokens[1] == "M" else 0.0,
        loss=1.0,
        steps=request.steps,
        diverged=False,
        curve=(),
        cpu_seconds=0.0,
    )


def died(_request: ProxyRequest) -> ProxyResult:
    raise SystemExit(3)


def passed(name: str) -> Passed:
    (folder,) = CANDIDATES.glob(f"*/{name}")
    return Passed(source=(folder / "mechanism.py").read_text(), measured={}, folder=folder)


def test_a_mechanism_is_trained_beside_mlps_and_the_results_are_kept(tmp_path: Path) -> None:
    objective = Learnability(runs=tmp_path, evaluation=evaluated)
    assert objective.score(passed("*-bzul5eip")) == 0.5
    kept = Learnability(runs=tmp_path, evaluation=died)
    assert kept.score(passed("*-bzul5eip")) == 0.5


def test_what_is_not_causal_or_lies_in_no_folder_has_no_score(tmp_path: Path) -> None:
    objective = Learnability(runs=tmp_path, evaluation=died)
    assert objective.score(passed("bidirectional-*")) is None
    assert objective.score(Passed(source="", measured={}, folder=None)) is None


@pytest.mark.thorough
def test_a_real_training_gives_an_accuracy(tmp_path: Path) -> None:
    score = Learnability(runs=tmp_path).score(passed("*-3ataspan"))
    assert score is not None
    assert 0.0 < score <= 1.0
