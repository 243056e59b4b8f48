"""What a search found, evaluated again on seeds and data it never saw; and once on the final split.

The winner of a noisy comparison owes its place partly to luck. Here luck is drawn anew: seeds of another use,
data of the selection split, the same for every composition, so that differences are paired.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.compose.composition import Composition
from harness.compose.intervals import Interval, paired, t_interval
from harness.compose.proxies.request import Split
from harness.compose.study_settings import Use
from harness.errors import HarnessError, WrongUsage

if TYPE_CHECKING:
    from harness.compose.study import Study  # brings Optuna along, which reading a study does not need

SEEDS = 5

RETESTED, FINAL_BEGUN, FINAL_READ = "retested", "final_begun", "final_read"
"""The events of this module."""


@dataclass(frozen=True, kw_only=True)
class Retested:
    """One composition's scores, seed by seed, on a split; a run that diverged has the score of chance."""

    composition: Composition
    scores: tuple[float, ...]
    diverged: int

    @property
    def interval(self) -> Interval:
        return t_interval(self.scores)

    def against(self, other: Retested) -> Interval:
        """The mean difference to `other` over the seeds both had."""
        return paired(self.scores, other.scores)

    def to_json(self) -> dict[str, Any]:
        return {
            "tokens": list(self.composition.tokens),
            "scores": list(self.scores),
            "diverged": self.diverged,
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Retested:
        return cls(
            composition=Composition(tuple(values["tokens"])),
            scores=tuple(values["scores"]),
            diverged=values["diverged"],
        )


def retest(study: Study, compositions: Sequence[Composition], *, seeds: int = SEEDS) -> tuple[Retested, ...]:
    """Evaluate on the selection split, at the last rung's length, from `seeds` seeds that the search never
    had. In the order given, each once; recorded, unless it was.

    Raises WrongUsage for fewer than two seeds, HarnessError where an evaluation ends its workers.
    """
    results = _evaluate(study, compositions, seeds, use="retest", split="selection")
    body = {"seeds": seeds, "results": [one.to_json() for one in results]}
    if body not in study.state.bodies(RETESTED):
        study.record(RETESTED, body)
    return results


def final(study: Study, compositions: Sequence[Composition], *, seeds: int = SEEDS) -> tuple[Retested, ...]:
    """Evaluate on the final split, which a study reads once.

    What is to be read is recorded first, so that an interrupted reading can only be finished as it was begun.
    Asked again for the same, it gives the recorded scores. Raises HarnessError where the study has read, or
    begun to read, the split for anything else; otherwise as `retest`.
    """
    asked = {"tokens": [list(one.tokens) for one in dict.fromkeys(compositions)], "seeds": seeds}
    begun = study.state.bodies(FINAL_BEGUN)
    if begun and begun[0] != asked:
        earlier = "; ".join(" ".join(tokens) for tokens in begun[0]["tokens"])
        raise HarnessError(
            f"final split: expected to be read once, got a second reading. It was read for {earlier} with "
            f"{begun[0]['seeds']} seeds: ask for these again (with the other tasks of then), or begin a new "
            "study with another seed."
        )
    if read := study.state.bodies(FINAL_READ):
        return tuple(Retested.from_json(values) for values in read[0]["results"])
    _check_seeds(seeds)
    if not begun:
        study.record(FINAL_BEGUN, asked)
    results = _evaluate(study, compositions, seeds, use="final", split="final")
    study.record(FINAL_READ, {"results": [one.to_json() for one in results]})
    return results


def _evaluate(
    study: Study, compositions: Sequence[Composition], seeds: int, *, use: Use, split: Split
) -> tuple[Retested, ...]:
    _check_seeds(seeds)
    distinct = list(dict.fromkeys(compositions))
    steps = study.settings.rungs[-1].steps
    requests = [
        study.settings.request(composition, index=index, steps=steps, use=use, split=split)
        for composition in distinct
        for index in range(seeds)
    ]
    results = []
    for answer in study.evaluations.answers(requests):
        if answer.result is None:
            raise HarnessError(
                f"{' '.join(answer.request.tokens)}: expected a score, got none, since every worker died. "
                "Look at the machine (memory, say), then run the same command again."
            )
        results.append(answer.result)
    return tuple(
        Retested(
            composition=composition,
            scores=tuple(result.score for result in results[n * seeds : (n + 1) * seeds]),
            diverged=sum(result.diverged for result in results[n * seeds : (n + 1) * seeds]),
        )
        for n, composition in enumerate(distinct)
    )


def _check_seeds(seeds: int) -> None:
    if seeds < 2:
        raise WrongUsage(f"seeds: expected two or more, since one says nothing of chance, got {seeds}.")
