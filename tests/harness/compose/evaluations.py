"""Cheap stand-ins for training: scores that are a function of the request, and ways to fail.

`task` carries what a test wants to happen, since functions are named across processes and take nothing else.
"""

from __future__ import annotations

import os
import time
from itertools import pairwise
from pathlib import Path

from harness.compose.proxies.request import CurvePoint, ProxyRequest, ProxyResult
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
