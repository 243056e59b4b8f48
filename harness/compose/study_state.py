"""What has happened in a study, as a replay of its events: the only state there is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

from harness.compose.composition import Composition
from harness.compose.engines.cached import Answer
from harness.compose.search.protocol import Outcome, Trial
from harness.errors import HarnessError
from harness.store import Event, Store

RECORD = "study.sqlite"
"""The file of a study's folder that holds its events."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """One evaluation of a trial. `score` is None where it diverged or its workers died."""

    score: float | None
    reason: str
    steps: int
    cpu_seconds: float
    cached: bool


@dataclass(kw_only=True)
class Entry:
    """One trial: what was proposed, its scores rung by rung and seed by seed, and what became of it.

    `outcome` is None while it is under way. `reason` says in a sentence why it was refused or failed.
    """

    number: int
    composition: Composition
    outcome: Outcome | None = None
    fitness: float | None = None
    reason: str = ""
    scores: dict[int, list[Score]] = field(default_factory=dict)

    @property
    def rung(self) -> int:
        """The last rung it was evaluated on; 0 where it never was."""
        return max(self.scores, default=0)

    @property
    def steps(self) -> int:
        """Training steps it took, on all rungs; those of results from the cache too."""
        return sum(score.steps for scores in self.scores.values() for score in scores)

    @property
    def trial(self) -> Trial:
        """As searchers see it, once it is finished."""
        assert self.outcome is not None, f"trial {self.number} is under way"
        return Trial(
            number=self.number,
            composition=self.composition,
            outcome=self.outcome,
            fitness=self.fitness,
            rung=self.rung,
        )

    def mean(self, rung: int) -> float | None:
        """The mean score on a rung over its seeds; None where one of them failed."""
        values = [score.score for score in self.scores[rung]]
        known = [value for value in values if value is not None]
        return sum(known) / len(known) if len(known) == len(values) else None

    def rung_means(self) -> list[float]:
        """The means of the rungs it came through, in order."""
        means = [self.mean(rung) for rung in sorted(self.scores)]
        return [mean for mean in means if mean is not None]


class StudyState:
    """All trials in order, and everything else that was recorded."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.events: list[Event] = []

    @classmethod
    def replay(cls, store: Store) -> StudyState:
        """The state that the store's events tell. Raises HarnessError where they tell none."""
        state = cls()
        try:
            for event in store.events():
                state.apply(event)
        except (AssertionError, IndexError, KeyError, TypeError, ValueError) as error:
            raise HarnessError(
                f"{store.path}: expected events that follow from one another, got {type(error).__name__} "
                f"({error}) after {len(state.events)} of them. The file is damaged: move it away and run "
                "again; evaluations in the cache are not repeated."
            ) from None
        return state

    def apply(self, event: Event) -> None:
        """Take in one event."""
        body = event.body
        match event.kind:
            case "proposed":
                self._propose(body["first"], body["trials"])
            case "evaluated":
                entry, rung = self.entries[body["number"]], body["rung"]
                if not isinstance(rung, int) or not 0 <= rung <= len(entry.scores):
                    raise ValueError(f"expected a rung up to {len(entry.scores)}, got {rung!r}")
                entry.scores.setdefault(rung, []).append(Score(**body["score"]))
            case "finished":
                entry = self.entries[body["number"]]
                if body["outcome"] not in get_args(Outcome):
                    raise ValueError(f"expected one of {get_args(Outcome)}, got {body['outcome']!r}")
                entry.outcome, entry.reason = body["outcome"], body["reason"]
                entry.fitness = None if body["fitness"] is None else 0.0 + body["fitness"]
        self.events.append(event)

    def finished(self) -> list[Entry]:
        return [entry for entry in self.entries if entry.outcome is not None]

    def ranked(self) -> list[Entry]:
        """Trials that have a fitness, the best first; of equal ones the earlier."""
        return ranked(self.entries)

    def bodies(self, kind: str) -> list[dict[str, Any]]:
        """The bodies of all events of that kind, in order."""
        return [event.body for event in self.events if event.kind == kind]

    def _propose(self, first: int, trials: Sequence[Mapping[str, Any]]) -> None:
        assert first == len(self.entries), f"expected trial {len(self.entries)} next, got {first}"
        for trial in trials:
            self.entries.append(
                Entry(
                    number=len(self.entries),
                    composition=Composition(tuple(trial["tokens"])),
                    outcome=trial["outcome"],
                    reason=trial["reason"],
                )
            )


def ranked(entries: Iterable[Entry]) -> list[Entry]:
    """Those that have a fitness, the best first; of equal ones the earlier."""
    scored = [entry for entry in entries if entry.fitness is not None]
    return sorted(scored, key=lambda entry: (*(-part for part in entry.trial.merit), entry.number))


def proposed_body(first: int, entries: Sequence[Entry]) -> dict[str, Any]:
    """The body of a `proposed` event: a round, with those that are refused at once."""
    trials = [
        {"tokens": list(entry.composition.tokens), "outcome": entry.outcome, "reason": entry.reason}
        for entry in entries
    ]
    return {"first": first, "trials": trials}


def evaluated_body(number: int, rung: int, answer: Answer) -> dict[str, Any]:
    """The body of an `evaluated` event: one seed of one trial on one rung."""
    return {"number": number, "rung": rung, "key": answer.request.key(), "score": _score(answer)}


def finished_body(entry: Entry, outcome: Outcome, fitness: float | None) -> dict[str, Any]:
    """The body of a `finished` event."""
    failures = [score.reason for scores in entry.scores.values() for score in scores if score.reason]
    reason = failures[0] if failures else ""
    return {"number": entry.number, "outcome": outcome, "fitness": fitness, "reason": reason}


def _score(answer: Answer) -> dict[str, Any]:
    result = answer.result
    if result is None:
        return {"score": None, "reason": "every worker died", "steps": 0, "cpu_seconds": 0.0, "cached": False}
    return {
        "score": None if result.diverged else result.score,
        "reason": f"diverged within {result.steps} steps" if result.diverged else "",
        "steps": result.steps,
        "cpu_seconds": 0.0 if answer.cached else result.cpu_seconds,
        "cached": answer.cached,
    }
