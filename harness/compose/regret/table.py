"""Every composition of a small space, evaluated on every rung: the last one from more seeds than it has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.compose.composition import Composition
from harness.compose.engines.cached import Evaluations
from harness.compose.study_settings import StudySettings
from harness.errors import HarnessError, WrongUsage

LARGEST = 4096
"""Compositions above which evaluating all of them is surely a slip."""

Told = Callable[[int, int], None]
"""(evaluations done, evaluations in all)."""


@dataclass(frozen=True, kw_only=True)
class ScoreTable:
    """scores: for each of the settings' rungs an array (compositions, seeds), float64, rows in the order of
    `compositions`. A rung has its own number of seeds, the last one `seeds`, so that some saw no search.

    `cpu_seconds` are of what was run for it, `cached` evaluations were known before.
    """

    settings: StudySettings
    compositions: tuple[Composition, ...]
    scores: tuple[np.ndarray[Any, np.dtype[np.float64]], ...]
    cpu_seconds: float
    cached: int

    @property
    def seeds(self) -> int:
        return int(self.scores[-1].shape[1])

    @property
    def evaluations(self) -> int:
        return sum(scores.size for scores in self.scores)

    def truth(self, unseen: Sequence[int]) -> np.ndarray[Any, np.dtype[np.float64]]:
        """(compositions,): the mean score at the full budget, the last rung's steps, over these seeds."""
        return np.asarray(self.scores[-1][:, list(unseen)].mean(axis=1))


def measure(
    settings: StudySettings, evaluations: Evaluations, *, seeds: int, told: Told = lambda _done, _all: None
) -> ScoreTable:
    """Evaluate the space of `settings`. Of its searching part only task, rungs, seed and space matter.

    `seeds` is the number per composition on the last rung. What diverged has the score of chance. Raises
    WrongUsage unless more seeds are asked for than any rung uses, so that there is a truth that no rung has
    seen, or where the space is too large.
    """
    most = max(rung.seeds for rung in settings.rungs)
    if seeds <= most:
        raise WrongUsage(f"seeds: expected more than the {most} of the last rung, got {seeds}.")
    if settings.space.size > LARGEST:
        raise WrongUsage(f"space: expected at most {LARGEST} compositions, got {settings.space.size}.")
    compositions = tuple(settings.space.nth(index) for index in range(settings.space.size))
    counts = [*(rung.seeds for rung in settings.rungs[:-1]), seeds]
    requests = [
        settings.request(composition, index=index, steps=rung.steps)
        for rung, count in zip(settings.rungs, counts, strict=True)
        for composition in compositions
        for index in range(count)
    ]
    scores, cpu_seconds, cached = [], 0.0, 0
    for answer in evaluations.answers(requests):
        if answer.result is None:
            raise HarnessError(f"{' '.join(answer.request.tokens)}: expected a score, but every worker died.")
        scores.append(answer.result.score)
        cached += answer.cached
        cpu_seconds += 0.0 if answer.cached else answer.result.cpu_seconds
        told(len(scores), len(requests))
    parts = np.split(np.asarray(scores, dtype=np.float64), np.cumsum(counts[:-1]) * len(compositions))
    return ScoreTable(
        settings=settings,
        compositions=compositions,
        scores=tuple(part.reshape(len(compositions), -1) for part in parts),
        cpu_seconds=cpu_seconds,
        cached=cached,
    )
