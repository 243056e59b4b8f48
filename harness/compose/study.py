"""The study: rounds of proposals, evaluated rung by rung, recorded as they come.

Everything that decides is a function of the settings and of what was recorded, in the order of trials, so the
results depend neither on the engine, nor on how many workers it has, nor on how often the study was killed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness.compose.accounting import ledger
from harness.compose.composition import Composition
from harness.compose.engines.cached import Evaluations, KnownResults
from harness.compose.engines.protocol import Engine
from harness.compose.extras import extra
from harness.compose.halving import promoted
from harness.compose.limits import Constraint, anything
from harness.compose.search.protocol import Searcher
from harness.compose.search.registry import searcher
from harness.compose.study_settings import StudySettings
from harness.compose.study_state import (
    RECORD,
    Entry,
    StudyState,
    evaluated_body,
    finished_body,
    proposed_body,
)
from harness.compose.trials_left import is_spent
from harness.errors import HarnessError
from harness.locks import exclusive
from harness.store import Store

with extra("compose"):
    from harness.compose.optuna_mirror import OptunaMirror

JOURNAL = "optuna.journal"
"""The copy of a study's record for Optuna's tools."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """One thing that happened, with a line that says it. `number` is the trial's, where it is about one."""

    kind: Literal["resumed", "proposed", "evaluated", "finished", "stopped", "followed"]
    text: str
    number: int | None = None


@contextlib.contextmanager
def open_study(
    settings: StudySettings,
    *,
    runs: Path,
    engine: Engine,
    cache: KnownResults,
    constraint: Constraint = anything,
) -> Iterator[Study]:
    """The study that `settings` names, new or as far as it got, in `runs/<study id>`.

    `constraint` is what `settings.limits` says, bound to the primitives' counts (`limits.within`). Raises
    HarnessError where another process has the study, its files are damaged or cannot be written, or they hold
    another study; ValueError for limits without a constraint, or the reverse.
    """
    if (settings.limits is None) != (constraint is anything):
        raise ValueError(f"expected a constraint with limits and none without, got {settings.limits}")
    folder = runs / settings.study_id
    with exclusive(folder), Store(folder / RECORD) as store:
        yield Study(settings, store, Evaluations(engine, cache), constraint)


class Study:
    """One study under way; every step skips what the record already holds."""

    def __init__(
        self, settings: StudySettings, store: Store, evaluations: Evaluations, constraint: Constraint
    ) -> None:
        self.settings = settings
        self.evaluations = evaluations
        self.folder = store.path.parent
        self._store = store
        self._constraint = constraint
        self._searcher: Searcher = searcher(
            settings.sampler, settings.space, settings.seed, budget=settings.sized_for or settings.budget
        )
        self._mirror = OptunaMirror(self.folder / JOURNAL, settings)
        store.begin(settings.to_json())
        self.state = StudyState.replay(store)
        self._check_space()

    def record(self, kind: str, body: dict[str, Any]) -> None:
        """Append an event and take it in."""
        self.state.apply(self._store.append(kind, body))

    def run(self) -> Iterator[Progress]:
        """Go on to the end, telling each step. Ending the iteration early loses nothing that was told."""
        entries = self.state.entries
        if entries:
            yield Progress(
                kind="resumed", text=f"going on with {self.settings.study_id}: {len(entries)} trials"
            )
        for first in range(0, self.settings.budget, self.settings.width):
            count = min(self.settings.width, self.settings.budget - first)
            if self._is_spent(first):
                yield self._stopped(f"{self.settings.max_steps} training steps are used up")
                return
            if first >= len(entries):
                yield from self._propose(first, count)
            cohort = entries[first : first + count]
            yield from self._evaluate(first, cohort)
            self._mirror.write(entries[: first + count])
            if len(cohort) < count:
                yield self._stopped(f"all {self.settings.space.size} compositions were proposed")
                return
        yield self._stopped(f"the budget of {self.settings.budget} trials is used up")

    def _check_space(self) -> None:
        for entry in self.state.entries:
            if entry.composition not in self.settings.space:
                raise HarnessError(
                    f"{self._store.path}: expected compositions of this study's alphabet and layers, got "
                    f"{_title(entry)}. The file is damaged: move it away and run again; evaluations in the "
                    "cache are not repeated."
                )

    def _is_spent(self, first: int) -> bool:
        return is_spent(self.settings, self.state.entries[:first])

    def _propose(self, first: int, count: int) -> Iterator[Progress]:
        history = [entry.trial for entry in self.state.entries]
        proposals = self._searcher.propose(first, count, history)
        if not proposals:
            return
        self.record("proposed", proposed_body(first, self._screen(first, proposals)))
        for entry in self.state.entries[first:]:
            said = f": {entry.outcome}, {entry.reason}" if entry.outcome else ""
            yield Progress(kind="proposed", text=f"proposed {_title(entry)}{said}", number=entry.number)

    def _screen(self, first: int, proposals: Sequence[Composition]) -> list[Entry]:
        """Entries for the proposals; repeats and those beyond a limit are finished before they begin."""
        numbers = {entry.composition: entry.number for entry in reversed(self.state.entries)}
        entries: list[Entry] = []
        for number, composition in enumerate(proposals, start=first):
            if composition not in self.settings.space:
                raise ValueError(f"{self._searcher.name}: expected members of the space, got {composition}")
            entry = Entry(number=number, composition=composition)
            if composition in numbers:
                entry.outcome, entry.reason = "duplicate", f"the same as #{numbers[composition] + 1}"
            elif (reason := self._constraint(composition)) is not None:
                entry.outcome, entry.reason = "infeasible", reason
            numbers.setdefault(composition, number)
            entries.append(entry)
        return entries

    def _evaluate(self, first: int, cohort: Sequence[Entry]) -> Iterator[Progress]:
        """Take the round that begins with trial `first` up the rungs."""
        climbing = [entry for entry in cohort if entry.outcome not in ("duplicate", "infeasible")]
        for rung in range(len(self.settings.rungs)):
            yield from self._score(climbing, rung)
            chosen = self._promoted(first, climbing, rung)
            for entry in climbing:
                if entry.number not in chosen and entry.outcome is None:
                    yield self._finish(entry, rung)
            climbing = [entry for entry in climbing if entry.number in chosen]

    def _score(self, climbing: Sequence[Entry], rung: int) -> Iterator[Progress]:
        """Evaluate every trial from every seed of the rung that the record lacks."""
        steps, seeds = self.settings.rungs[rung].steps, self.settings.rungs[rung].seeds
        missing = [
            (entry, index) for entry in climbing for index in range(len(entry.scores.get(rung, ())), seeds)
        ]
        requests = [
            self.settings.request(entry.composition, index=index, steps=steps) for entry, index in missing
        ]
        answers = self.evaluations.answers(requests)
        for (entry, index), answer in zip(missing, answers, strict=True):
            self.record("evaluated", evaluated_body(entry.number, rung, answer))
            score = entry.scores[rung][index]
            said = score.reason if score.score is None else f"{score.score:.4f}"
            yield Progress(
                kind="evaluated",
                text=f"{_title(entry)}, rung {rung}, seed {index}: {said}",
                number=entry.number,
            )

    def _promoted(self, first: int, climbing: Sequence[Entry], rung: int) -> tuple[int, ...]:
        """The numbers of those that go on to the next rung: none from the last one."""
        if rung == len(self.settings.rungs) - 1:
            return ()
        earlier = [entry.mean(rung) for entry in self.state.entries[:first] if rung in entry.scores]
        cohort = {entry.number: entry.mean(rung) for entry in climbing}
        return promoted(cohort, earlier, factor=self.settings.factor)

    def _finish(self, entry: Entry, rung: int) -> Progress:
        fitness = entry.mean(rung)
        last = rung == len(self.settings.rungs) - 1
        outcome: Literal["failed", "complete", "pruned"] = (
            "failed" if fitness is None else "complete" if last else "pruned"
        )
        self.record("finished", finished_body(entry, outcome, fitness))
        said = entry.reason if fitness is None else f"{fitness:.4f} on rung {rung}"
        return Progress(kind="finished", text=f"{outcome} {_title(entry)}: {said}", number=entry.number)

    def _stopped(self, why: str) -> Progress:
        return Progress(kind="stopped", text=f"{why}. {ledger(self.state.entries)}")


def _title(entry: Entry) -> str:
    return f"#{entry.number + 1} {entry.composition.run_length()}"
