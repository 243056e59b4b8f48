"""From a search to configurations: the whole job of `harness compose run`, in steps that each resume.

Search on one task; the best go on to other tasks; the fittest over all of them, and what the top cluster
agrees on, are trained again from unseen seeds and scored on the selection split; the first of these is set
beside the plain transformer on the final split, which is read once; and it is extrapolated to large sizes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from harness.compose.aggregate import Consensus, consensus
from harness.compose.composition import Composition, alternating
from harness.compose.proxies.request import ProxyRequest
from harness.compose.retest import Retested, final, retest
from harness.compose.study import Progress, Study
from harness.compose.study_state import Entry
from harness.errors import HarnessError

BROADENED = "broadened"
"""The event that a finalist's score on another task is."""


@dataclass(frozen=True, kw_only=True)
class OtherTask:
    """A task beside the search's own, trained for `steps` steps; `data` is as in `StudySettings`. `chance` is
    the score of a model that knows nothing: what a composition gets whose workers died.
    """

    task: str
    preset: str
    steps: int
    chance: float = 0.0
    data: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return f"{self.task}/{self.preset}"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What follows the search: `finalists` are scored on the `others`, `winners` of them are re-tested from
    `seeds` unseen seeds, together with at most `agreed` consensus compositions.
    """

    others: tuple[OtherTask, ...]
    finalists: int = 8
    winners: int = 2
    agreed: int = 1
    seeds: int = 3

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Finalist:
    """One of the best trials: its number, the rung that it reached, its fitness there, and scores on the
    other tasks by name.
    """

    number: int
    composition: Composition
    rung: int
    fitness: float
    others: Mapping[str, float]

    @property
    def mean(self) -> float:
        """Over all tasks, each with the same weight."""
        scores = [self.fitness, *self.others.values()]
        return sum(scores) / len(scores)


@dataclass(frozen=True, kw_only=True)
class Found:
    """What the job found. `retested` and `final` are the best first and the winner first."""

    finalists: tuple[Finalist, ...]
    consensus: tuple[Consensus, ...]
    retested: tuple[Retested, ...]
    final: tuple[Retested, ...]

    @property
    def best(self) -> Composition:
        return self.retested[0].composition


class Pipeline:
    """Runs a study and what follows. Iterate over `run()` to the end, then read `found`."""

    def __init__(self, study: Study, plan: Plan) -> None:
        self.study, self.plan = study, plan
        self._found: Found | None = None

    @property
    def found(self) -> Found:
        assert self._found is not None, "run() has not come to its end"
        return self._found

    def run(self) -> Iterator[Progress]:
        """Go on to the end, telling each step. Raises HarnessError where no trial has a fitness."""
        yield from self.study.run()
        yield from self._broaden()
        finalists = self.finalists()
        agreed = consensus([entry.trial for entry in self.study.state.finished()])[: self.plan.agreed]
        chosen = [one.composition for one in finalists[: self.plan.winners]]
        chosen += [one.composition for one in agreed if one.composition not in chosen]
        yield _told(f"re-testing {len(chosen)} compositions from {self.plan.seeds} unseen seeds")
        retested = _best_first(retest(self.study, chosen, seeds=self.plan.seeds))
        baseline = alternating(self.study.settings.layers)
        yield _told("reading the final split, once: the winner, and the plain transformer")
        read = final(self.study, [retested[0].composition, baseline], seeds=self.plan.seeds)
        self._found = Found(finalists=finalists, consensus=agreed, retested=retested, final=read)

    def finalists(self) -> tuple[Finalist, ...]:
        """The best trials with their recorded scores on the other tasks, the best over all tasks first; of
        equal ones the earlier. Those of a later rung come before all of an earlier one: their fitness is of
        more steps and seeds, and is not compared. Raises KeyError before these are all recorded.
        """
        scores = _recorded(self.study)
        found = [
            Finalist(
                number=entry.number,
                composition=entry.composition,
                rung=entry.rung,
                fitness=entry.trial.merit[1],
                others={
                    str(other): other.chance if score is None else score
                    for other in self.plan.others
                    for score in [scores[self._request(entry.composition, other).key()]]
                },
            )
            for entry in self._best()
        ]
        return tuple(sorted(found, key=lambda one: (-one.rung, -one.mean, one.number)))

    def _best(self) -> list[Entry]:
        return self.study.state.ranked()[: self.plan.finalists]

    def _broaden(self) -> Iterator[Progress]:
        """Score the finalists on the other tasks; what is recorded is not asked again."""
        best = self._best()
        if not best:
            raise HarnessError(
                f"{self.study.settings.study_id}: expected a trial with a score, got none of "
                f"{len(self.study.state.entries)}. Loosen the limits, or look at why they failed."
            )
        recorded = _recorded(self.study)
        wanted = [
            (other, request)
            for entry in best
            for other in self.plan.others
            if (request := self._request(entry.composition, other)).key() not in recorded
        ]
        answers = self.study.evaluations.answers([request for _, request in wanted])
        for (other, request), answer in zip(wanted, answers, strict=True):
            score = None if answer.result is None else answer.result.score
            body = {"tokens": list(request.tokens), "task": str(other), "key": request.key(), "score": score}
            self.study.record(BROADENED, body)
            said = "every worker died" if score is None else f"{score:.4f}"
            yield _told(f"{Composition(request.tokens).run_length()} on {other}: {said}")

    def _request(self, composition: Composition, other: OtherTask) -> ProxyRequest:
        settings = self.study.settings
        ours = settings.request(composition, index=0, steps=other.steps)
        identities = {**settings.identities_of(composition), **dict(other.data)}
        return replace(ours, task=other.task, preset=other.preset, identities=identities)


def _recorded(study: Study) -> dict[str, float | None]:
    """Scores on other tasks by the key of what was asked; None where every worker died."""
    return {body["key"]: body["score"] for body in study.state.bodies(BROADENED) if "key" in body}


def _best_first(retested: tuple[Retested, ...]) -> tuple[Retested, ...]:
    return tuple(sorted(retested, key=lambda one: -one.interval.mean))


def _told(text: str) -> Progress:
    return Progress(kind="followed", text=text)
