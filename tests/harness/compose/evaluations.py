"""Cheap stand-ins for training: scores that are a function of the request, and ways to fail.

`task` carries what a test wants to happen, since functions are named across processes and take nothing else.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

from harness.compose.engines.protocol import Evaluate, WorkerDied, in_order
from harness.compose.halving import Rung
from harness.compose.proxies.request import CurvePoint, ProxyRequest, ProxyResult
from harness.compose.study_settings import StudySettings
from verify.seeds import derive


def request(*tokens: str, task: str = "toy", seed: int = 0, steps: int = 100) -> ProxyRequest:
    tokens = tokens or ("mA", "M")
    return ProxyRequest(
        tokens=tokens, identities={t: t for t in tokens}, task=task, preset="tiny", seed=seed, steps=steps
    )


def quality(tokens: tuple[str, ...]) -> float:
    """What a composition is worth: alternation is good, attention early is better; 0 to 1."""
    changes = sum(a != b for a, b in pairwise(tokens)) / max(1, len(tokens) - 1)
    weights = [1 / (1 + n) for n in range(len(tokens))]
    early = sum(w for w, t in zip(weights, tokens, strict=True) if t == "mA") / sum(weights)
    return 0.6 * changes + 0.4 * early


def noise(asked: ProxyRequest) -> float:
    """Uniform in [-1, 1), another for every composition, seed, length and split."""
    draw = derive(asked.seed, *asked.tokens, asked.steps, asked.split)
    return draw / 2**63 - 1.0


def result(score: float, steps: int, *, diverged: bool = False) -> ProxyResult:
    return ProxyResult(
        score=score,
        loss=1.0 - score,
        steps=steps,
        diverged=diverged,
        curve=(CurvePoint(step=steps, loss=1.0 - score, score=score),),
        cpu_seconds=0.25,
    )


def evaluate(asked: ProxyRequest) -> ProxyResult:
    """Longer training shows more of the quality and less noise; a stack of `M` alone diverges."""
    if set(asked.tokens) == {"M"}:
        return result(0.0, asked.steps, diverged=True)
    shown = asked.steps / (asked.steps + 50)
    return result(shown * quality(asked.tokens) + 0.05 * noise(asked) * (1 - shown), asked.steps)


def evaluate_plus(asked: ProxyRequest, *, bonus: float) -> ProxyResult:
    return result(evaluate(asked).score + bonus, asked.steps)


def evaluate_slowly(asked: ProxyRequest) -> ProxyResult:
    """As `evaluate`, the earlier seeds last: completion order is not request order."""
    time.sleep(max(0.0, 0.2 - 0.05 * asked.seed))
    return evaluate(asked)


def evaluate_dying_once(asked: ProxyRequest) -> ProxyResult:
    """Ends its process the first time that seed 1 is asked for; `task` is the file that remembers."""
    marker = Path(asked.task)
    if asked.seed == 1 and not marker.exists():
        marker.touch()
        os._exit(9)
    return evaluate(asked)


def evaluate_dying(asked: ProxyRequest) -> ProxyResult:
    """Ends its process whenever the first layer is `Mb`."""
    if asked.tokens[0] == "Mb":
        os._exit(9)
    return evaluate(asked)


def evaluate_raising(asked: ProxyRequest) -> ProxyResult:
    raise ValueError(f"no task {asked.task}")


def evaluate_threads(asked: ProxyRequest) -> ProxyResult:
    """The score is the number of threads that the environment allows."""
    return result(float(os.environ["OMP_NUM_THREADS"]), asked.steps)


class InProcessEngine:
    """An `Engine` without workers, the last request first; `asked` is what it was asked, in order."""

    def __init__(self, function: Evaluate = evaluate) -> None:
        self._function = function
        self.asked: list[ProxyRequest] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def completed(self, requests: Sequence[ProxyRequest]) -> Iterator[tuple[int, ProxyResult]]:
        for position in reversed(range(len(requests))):
            self.asked.append(requests[position])
            yield position, self._function(requests[position])

    def run(self, requests: Sequence[ProxyRequest]) -> Iterator[ProxyResult]:
        return in_order(self.completed(requests))

    def close(self) -> None:
        """Nothing to end."""


class DyingEngine(InProcessEngine):
    """One whose workers die of every composition that begins with one of `deadly`."""

    def __init__(self, *deadly: str) -> None:
        super().__init__()
        self._deadly = deadly

    def completed(self, requests: Sequence[ProxyRequest]) -> Iterator[tuple[int, ProxyResult]]:
        lost = [n for n, one in enumerate(requests) if one.tokens[0] in self._deadly]
        for position, one in enumerate(requests):
            if position not in lost:
                yield position, self._function(one)
        if lost:
            raise WorkerDied(dict.fromkeys(lost, "exit code -9"), requests)


def settings(sampler: str = "random", **changes: Any) -> StudySettings:
    """A study of three letters, six layers, 32 trials and two rungs."""
    alphabet = changes.pop("alphabet", ("mA", "M", "Mb"))
    values: dict[str, Any] = {
        "alphabet": alphabet,
        "identities": tuple((token, f"{token}/1") for token in alphabet),
        "layers": 6,
        "budget": 32,
        "sampler": sampler,
        "seed": 0,
        "task": "toy",
        "preset": "tiny",
        "rungs": (Rung(steps=100, seeds=1), Rung(steps=200, seeds=2)),
    }
    return StudySettings(**{**values, **changes})


def evaluate_endlessly(asked: ProxyRequest) -> ProxyResult:
    """`task` is a folder: the process leaves its number there and computes for longer than any test."""
    (Path(asked.task) / str(os.getpid())).touch()
    time.sleep(120.0)
    return evaluate(asked)
