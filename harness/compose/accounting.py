"""What a search cost and what it got for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from harness.compose.study_state import Entry


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """Trials by outcome, and the evaluations behind them.

    `steps` are training steps, those of results from the cache too; `cpu_seconds` are of what was run here.
    """

    attempted: int
    complete: int
    pruned: int
    failed: int
    duplicate: int
    infeasible: int
    evaluations: int
    cached: int
    steps: int
    cpu_seconds: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"{self.attempted} trials: {self.complete} complete, {self.pruned} pruned, {self.failed} failed, "
            f"{self.duplicate} duplicate, {self.infeasible} infeasible; {self.evaluations} evaluations, "
            f"{self.cached} of them from the cache; {self.steps} training steps; {self.cpu_seconds:.1f} CPU s"
        )


def ledger(entries: Sequence[Entry]) -> Ledger:
    """The ledger of these trials, also while some are under way."""
    outcomes = Counter(entry.outcome for entry in entries)
    scores = [score for entry in entries for rung in entry.scores.values() for score in rung]
    return Ledger(
        attempted=len(entries),
        complete=outcomes["complete"],
        pruned=outcomes["pruned"],
        failed=outcomes["failed"],
        duplicate=outcomes["duplicate"],
        infeasible=outcomes["infeasible"],
        evaluations=len(scores),
        cached=sum(score.cached for score in scores),
        steps=sum(entry.steps for entry in entries),
        cpu_seconds=round(sum(score.cpu_seconds for score in scores), 3),
    )


def spent_by(entries: Sequence[Entry]) -> tuple[tuple[int, float], ...]:
    """(training steps, fitness) of each trial that has a fitness, in order. Steps of one that failed are
    counted to the next: they were spent before it.
    """
    found: list[tuple[int, float]] = []
    lost = 0
    for entry in entries:
        if entry.fitness is None:
            lost += entry.steps
        else:
            found.append((lost + entry.steps, entry.fitness))
            lost = 0
    return tuple(found)
