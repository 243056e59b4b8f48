"""The searches that any other has to beat at equal cost: random, and TPE.

A control has the same settings but for the sampler, the same training seeds, the same uniform starts, and as
many training steps as the searcher used, evaluations from the shared cache counted in full. Then the winners
of all are evaluated on unseen seeds and data, and the differences stated with their intervals.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from harness.compose.accounting import Ledger, ledger, spent_by
from harness.compose.composition import Composition
from harness.compose.engines.cached import KnownResults
from harness.compose.engines.protocol import Engine
from harness.compose.intervals import Interval
from harness.compose.limits import Constraint, anything
from harness.compose.retest import SEEDS, Retested, retest
from harness.compose.study import Progress, Study, open_study
from harness.compose.study_settings import StudySettings
from harness.errors import HarnessError

CONTROLS = ("random", "tpe")
MORE_TRIALS = 4
"""A control may propose so many times the searcher's trials; its steps end it before that, as a rule."""

Beats = Literal["yes", "no", "not shown"]


@dataclass(frozen=True, kw_only=True)
class Control:
    """One search, what its trials cost and were worth (`spent_by`), and its winner, re-tested."""

    sampler: str
    ledger: Ledger
    spent: tuple[tuple[int, float], ...]
    winner: Retested


@dataclass(frozen=True, kw_only=True)
class Statement:
    """Whether a searcher's winner is better than a control's: the difference of scores over unseen seeds.

    It is about one study of each; how searchers compare in general takes replays (`compose.regret`).
    """

    searcher: str
    control: str
    difference: Interval

    @property
    def beats(self) -> Beats:
        if not self.difference.excludes_zero:
            return "not shown"
        return "yes" if self.difference.mean > 0 else "no"

    def __str__(self) -> str:
        return f"{self.searcher} beats {self.control}: {self.beats}, difference {self.difference.signed()}"

    def to_json(self) -> dict[str, Any]:
        return {
            "searcher": self.searcher,
            "control": self.control,
            "beats": self.beats,
            "difference": self.difference.to_json(),
        }


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The searcher first, then its controls; and a statement about each of these."""

    searches: tuple[Control, ...]
    statements: tuple[Statement, ...]


class ControlRun:
    """Runs the controls of a finished study. Iterate over `run()` to the end, then read `comparison`."""

    def __init__(
        self,
        study: Study,
        *,
        engine: Engine,
        cache: KnownResults,
        constraint: Constraint = anything,
        controls: Sequence[str] = CONTROLS,
        seeds: int = SEEDS,
    ) -> None:
        self._study = study
        self._open = _Opener(study.folder.parent, engine, cache, constraint)
        self._controls = [name for name in controls if name != study.settings.sampler]
        self._seeds = seeds
        self._comparison: Comparison | None = None

    @property
    def comparison(self) -> Comparison:
        assert self._comparison is not None, "run() has not come to its end"
        return self._comparison

    def run(self) -> Iterator[Progress]:
        """Search with each control, then re-test the winners of all."""
        steps = ledger(self._study.state.entries).steps
        entries = [self._study.state.entries]
        winners = [winner(self._study)]
        for name in self._controls:
            with self._open(control_settings(self._study.settings, name, steps=steps)) as control:
                yield from control.run()
                entries.append(control.state.entries)
                winners.append(winner(control))
        tested = {one.composition: one for one in retest(self._study, winners, seeds=self._seeds)}
        names = [self._study.settings.sampler, *self._controls]
        searches = tuple(
            Control(sampler=name, ledger=ledger(trials), spent=spent_by(trials), winner=tested[best])
            for name, trials, best in zip(names, entries, winners, strict=True)
        )
        self._comparison = Comparison(searches=searches, statements=statements(searches))


@dataclass(frozen=True)
class _Opener:
    """Opens studies beside one another, on one engine and one cache."""

    runs: Path
    engine: Engine
    cache: KnownResults
    constraint: Constraint

    def __call__(self, settings: StudySettings) -> contextlib.AbstractContextManager[Study]:
        return open_study(
            settings, runs=self.runs, engine=self.engine, cache=self.cache, constraint=self.constraint
        )


def control_settings(settings: StudySettings, sampler: str, *, steps: int) -> StudySettings:
    """The study with another sampler, ended by training steps in place of trials."""
    return replace(
        settings,
        sampler=sampler,
        budget=MORE_TRIALS * settings.budget,
        sized_for=settings.sized_for or settings.budget,
        max_steps=steps,
    )


def winner(study: Study) -> Composition:
    """The best trial's composition. Raises HarnessError where no trial has a fitness."""
    ranked = study.state.ranked()
    if not ranked:
        raise HarnessError(
            f"{study.settings.study_id}: expected a trial with a score, got none of "
            f"{len(study.state.entries)}. Loosen the limits, or look at why they failed."
        )
    return ranked[0].composition


def statements(searches: Sequence[Control]) -> tuple[Statement, ...]:
    """The first search against each of the others."""
    ours = searches[0]
    return tuple(
        Statement(searcher=ours.sampler, control=other.sampler, difference=ours.winner.against(other.winner))
        for other in searches[1:]
    )
