"""Searchers let loose on the table: what they would have found, and how far that is from the best.

A replay sees scores as a study does, from the last rung's number of seeds; what it found is judged by the
seeds that it did not see. Replay r of every searcher sees the same seeds and starts with the same uniform
draws, so differences between searchers are paired.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.compose.intervals import Interval, paired, t_interval
from harness.compose.regret.table import ScoreTable
from harness.compose.search.protocol import Trial
from harness.compose.search.registry import searcher
from harness.errors import WrongUsage
from verify.seeds import derive

EVALUATIONS, WIDTH, REPLAYS = 16, 4, 60
SAMPLERS = ("random", "tpe", "evolution")
CONTROL = "random"
WHOLE = "exhaustive"


@dataclass(frozen=True, kw_only=True)
class Regret:
    """Simple regret of one searcher over replays: the best true score minus that of what it chose.

    versus_random is the mean paired difference of regrets, negative where this searcher is better; None for
    random itself. `exhaustive` saw all scores of the seeds of a replay: its regret is what noise alone costs.
    """

    sampler: str
    evaluations: int
    regrets: tuple[float, ...]
    versus_random: Interval | None

    @property
    def interval(self) -> Interval:
        return t_interval(self.regrets)

    def to_json(self) -> dict[str, Any]:
        return {
            "sampler": self.sampler,
            "evaluations": self.evaluations,
            "regrets": list(self.regrets),
            "mean": self.interval.to_json(),
            "versus_random": None if self.versus_random is None else self.versus_random.to_json(),
        }


def replays(
    table: ScoreTable,
    *,
    samplers: Sequence[str] = SAMPLERS,
    evaluations: int = EVALUATIONS,
    width: int = WIDTH,
    count: int = REPLAYS,
) -> tuple[Regret, ...]:
    """`count` replays of each sampler at `evaluations` evaluations in rounds of `width`; and of a search that
    evaluates the whole space. Raises WrongUsage for fewer than two replays.
    """
    if count < 2:
        raise WrongUsage(f"replays: expected two or more, got {count}.")
    limits = dict.fromkeys((CONTROL, *samplers), evaluations)
    limits[WHOLE] = len(table.compositions)
    found = {
        name: tuple(_one(table, name, replay, limit, width) for replay in range(count))
        for name, limit in limits.items()
    }
    return tuple(
        Regret(
            sampler=name,
            evaluations=limits[name],
            regrets=regrets,
            versus_random=None if name == CONTROL else paired(regrets, found[CONTROL]),
        )
        for name, regrets in found.items()
    )


def _one(table: ScoreTable, sampler: str, replay: int, evaluations: int, width: int) -> float:
    """The regret of one replay."""
    sees = table.settings.rungs[-1].seeds
    seen = [(replay + offset) % table.seeds for offset in range(sees)]
    truth = table.truth([seed for seed in range(table.seeds) if seed not in seen])
    shown = table.truth(seen)
    places = {composition: place for place, composition in enumerate(table.compositions)}
    proposer = searcher(
        sampler, table.settings.space, derive(table.settings.seed, "replay", replay), budget=evaluations
    )
    history: list[Trial] = []
    while len(history) < evaluations:
        count = min(width, evaluations - len(history))
        proposals = proposer.propose(len(history), count, history)
        if not proposals:
            break
        for composition in proposals:
            history.append(
                Trial(
                    number=len(history),
                    composition=composition,
                    outcome="complete",
                    fitness=float(shown[places[composition]]),
                )
            )
    chosen = max(history, key=lambda trial: (trial.merit, -trial.number))
    return float(truth.max() - truth[places[chosen.composition]])
