from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from harness.compose.engines.cached import Evaluations, MemoryCache
from harness.compose.engines.protocol import in_order
from harness.compose.proxies.request import ProxyRequest, ProxyResult
from harness.errors import HarnessError
from tests.harness.compose.evaluations import DyingEngine, InProcessEngine, evaluate, request, result


class Interrupted(BaseException):
    pass


class Interrupting(InProcessEngine):
    """Answers all but the first request, then is interrupted."""

    def completed(self, requests: Sequence[ProxyRequest]) -> Iterator[tuple[int, ProxyResult]]:
        for position in range(1, len(requests)):
            yield position, evaluate(requests[position])
        raise Interrupted


def test_each_result_waits_for_those_before_it_and_no_longer() -> None:
    taken: list[int] = []

    def completed() -> Iterator[tuple[int, ProxyResult]]:
        for position in (2, 0, 3, 1):
            taken.append(position)
            yield position, result(float(position), 1)

    when = {one.score: list(taken) for one in in_order(completed())}
    assert when == {0.0: [2, 0], 1.0: [2, 0, 3, 1], 2.0: [2, 0, 3, 1], 3.0: [2, 0, 3, 1]}


def test_equal_requests_are_run_once_and_known_ones_never() -> None:
    cache, engine = MemoryCache(), InProcessEngine()
    first, second = request("mA"), request("M", "mA")
    cache.put(first, evaluate(first))
    answers = list(Evaluations(engine, cache).answers([second, first, second]))
    assert engine.asked == [second]
    assert [answer.cached for answer in answers] == [False, True, True]
    assert [answer.result for answer in answers] == [evaluate(one) for one in (second, first, second)]


def test_what_came_before_an_interruption_is_kept() -> None:
    cache, asked = MemoryCache(), [request("mA", seed=seed) for seed in range(3)]
    with pytest.raises(Interrupted):
        list(Evaluations(Interrupting(), cache).answers(asked))
    assert [cache.get(one) is not None for one in asked] == [False, True, True]


def test_one_deadly_composition_has_no_result_and_several_are_the_machines_fault() -> None:
    asked = [request("mA"), request("Mb"), request("mA", "M")]
    answers = list(Evaluations(DyingEngine("Mb"), MemoryCache()).answers(asked))
    assert [answer.result is None for answer in answers] == [False, True, False]
    with pytest.raises(HarnessError, match="memory"):
        list(Evaluations(DyingEngine("mA", "Mb"), MemoryCache()).answers(asked))
