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
from harness.errors import HarnessError

BROADENED = "broadened"
"""The event that a finalist's score on another task is."""


@dataclass(frozen=True, kw_only=True)
class OtherTask:
    """A task beside the search's own, trained for `steps` steps; `data` is as in `StudySettings`."""

    task: str
    preset: str
    steps: int
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
    winners: int = 3
    agreed: int = 2
    seeds: int = 3

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Finalist:
    """One of the best trials: its number, fitness in the search, and scores on the other tasks by name."""

    number: int
    composition: Composition
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
        finalists = finalists_of(self.study)
        agreed = consensus([entry.trial for entry in self.study.state.finished()])[: self.plan.agreed]
        chosen = [one.composition for one in finalists[: self.plan.winners]]
        chosen += [one.composition for one in agreed if one.composition not in chosen]
        yield _told(f"re-testing {len(chosen)} compositions from {self.plan.seeds} unseen seeds")
        retested = _best_first(retest(self.study, chosen, seeds=self.plan.seeds))
        baseline = alternating(self.study.settings.layers)
        yield _told("reading the final split, once: the winner, and the plain transformer")
        read = final(self.study, [retested[0].composition, baseline], seeds=self.plan.seeds)
        self._found = Found(finalists=finalists, consensus=agreed, retested=retested, final=read)

    def _broaden(self) -> Iterator[Progress]:
        """Score the finalists on the other tasks."""
        best = self.study.state.ranked()[: self.plan.finalists]
        if not best:
            raise HarnessError(
                f"{self.study.settings.study_id}: expected a trial with a score, got none of "
                f"{len(self.study.state.entries)}. Loosen the limits, or look at why they failed."
            )
        wanted = [(entry.composition, other) for entry in best for other in self.plan.others]
        requests = [self._request(composition, other) for composition, other in wanted]
        known = _known(self.study)
        for (composition, other), answer in zip(
            wanted, self.study.evaluations.answers(requests), strict=True
        ):
            score = None if answer.result is None else answer.result.score
            if (composition, str(other)) not in known:
                body = {"tokens": list(composition.tokens), "task": str(other), "score": score}
                self.study.record(BROADENED, body)
            said = "every worker died" if score is None else f"{score:.4f}"
            yield _told(f"{composition.run_length()} on {other}: {said}")

    def _request(self, composition: Composition, other: OtherTask) -> ProxyRequest:
        settings = self.study.settings
        ours = settings.request(composition, index=0, steps=other.steps)
        identities = {**settings.identities_of(composition), **dict(other.data)}
        return replace(ours, task=other.task, preset=other.preset, identities=identities)


def finalists_of(study: Study) -> tuple[Finalist, ...]:
    """The finalists as far as they are recorded, the best over all tasks first; of equal ones the earlier."""
    known = _known(study)
    names = {composition for composition, _ in known}
    found = [
        Finalist(
            number=entry.number,
            composition=entry.composition,
            fitness=entry.fitness,
            others={task: score for (one, task), score in known.items() if one == entry.composition},
        )
        for entry in study.state.ranked()
        if entry.composition in names and entry.fitness is not None
    ]
    return tuple(sorted(found, key=lambda one: (-one.mean, one.number)))


def _known(study: Study) -> dict[tuple[Composition, str], float]:
    """Scores on other tasks by composition and task; one whose workers died counts as nothing gained."""
    return {
        (Composition(tuple(body["tokens"])), body["task"]): body["score"] or 0.0
        for body in study.state.bodies(BROADENED)
    }


def _best_first(retested: tuple[Retested, ...]) -> tuple[Retested, ...]:
    return tuple(sorted(retested, key=lambda one: -one.interval.mean))


def _told(text: str) -> Progress:
    return Progress(kind="followed", text=text)
