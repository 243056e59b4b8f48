"""What holds for every engine; Ray's start costs seconds, so one cluster serves all of its tests."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pytest

from harness.compose.engines.local import LocalEngine
from harness.compose.engines.protocol import Engine, Evaluate, WorkerDied
from harness.compose.engines.ray_engine import RayEngine
from harness.compose.proxies.request import ProxyResult
from harness.errors import HarnessError
from tests.harness.compose import evaluations
from tests.harness.compose.evaluations import request

Open = Callable[[Evaluate], AbstractContextManager[Engine]]


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[None]:
    ray = pytest.importorskip("ray")
    with RayEngine(evaluations.evaluate, workers=2):
        yield
    assert not ray.is_initialized()


@pytest.fixture(params=["local", pytest.param("ray", marks=pytest.mark.slow)])
def open_engine(request: pytest.FixtureRequest) -> Open:
    if request.param == "local":
        return lambda evaluate: LocalEngine(evaluate, workers=2)
    request.getfixturevalue("ray_cluster")
    return RayEngine


def test_results_come_in_the_order_of_requests(open_engine: Open) -> None:
    asked = [request("mA", "M", seed=seed) for seed in range(4)]
    with open_engine(evaluations.evaluate_slowly) as engine:
        assert list(engine.run(asked)) == [evaluations.evaluate(one) for one in asked]


def test_a_worker_that_dies_is_replaced_and_its_request_tried_again(
    open_engine: Open, tmp_path: Path
) -> None:
    asked = [request(seed=seed, task=str(tmp_path / "marker")) for seed in range(3)]
    with open_engine(evaluations.evaluate_dying_once) as engine:
        assert list(engine.run(asked)) == [evaluations.evaluate(one) for one in asked]
    assert (tmp_path / "marker").exists()


def test_a_request_that_always_kills_is_named_after_the_others_are_answered(open_engine: Open) -> None:
    asked = [request("mA"), request("Mb"), request("M", "mA")]
    answered: dict[int, ProxyResult] = {}
    with (
        open_engine(evaluations.evaluate_dying) as engine,
        pytest.raises(WorkerDied, match="3 times") as death,
    ):
        for position, result in engine.completed(asked):
            answered[position] = result  # noqa: PERF403  what came before the exception is the point
    assert death.value.lost == (1,)
    assert answered == {n: evaluations.evaluate(asked[n]) for n in (0, 2)}


def test_what_an_evaluation_raises_is_raised_here(open_engine: Open) -> None:
    with open_engine(evaluations.evaluate_raising) as engine, pytest.raises(ValueError, match="no task toy"):
        list(engine.run([request()]))


def test_workers_compute_with_one_thread(open_engine: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    with open_engine(evaluations.evaluate_threads) as engine:
        assert [one.score for one in engine.run([request()])] == [1.0]


def test_keywords_travel_with_the_function(open_engine: Open) -> None:
    with open_engine(partial(evaluations.evaluate_plus, bonus=0.5)) as engine:
        assert list(engine.run([request()])) == [evaluations.evaluate_plus(request(), bonus=0.5)]


@pytest.mark.parametrize("evaluate", [lambda asked: asked, partial(evaluations.evaluate, request())])
def test_a_function_that_a_fresh_process_cannot_find_is_refused(evaluate: Evaluate) -> None:
    with pytest.raises(ValueError, match="expected"):
        LocalEngine(evaluate, workers=1)


def test_a_machine_without_ray_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(HarnessError, match=r"pip install 'aira-harness\[ray\]'"):
        RayEngine(evaluations.evaluate)


def test_a_cluster_that_does_not_answer_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets it, and it refuses
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setenv("RAY_ADDRESS", address)
        monkeypatch.setattr("ray.is_initialized", lambda: False)
        with pytest.raises(HarnessError, match=f"RAY_ADDRESS={address}.*refused"):
            RayEngine(evaluations.evaluate)
