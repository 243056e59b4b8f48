"""A study as it lies in its folder: read for people and for what follows, whether or not it has ended."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.compose.composition import Composition
from harness.compose.halving import Rung
from harness.compose.limits import Limits
from harness.compose.primitives.alphabet import Alphabet, resolve
from harness.compose.retest import FINAL_BEGUN, RETESTED, Retested
from harness.compose.study_settings import StudySettings
from harness.compose.study_state import RECORD, StudyState
from harness.errors import HarnessError, WrongUsage
from harness.files import is_file
from harness.store import Store


@dataclass(frozen=True, kw_only=True)
class ReadStudy:
    """What a folder holds."""

    folder: Path
    settings: StudySettings
    state: StudyState

    def alphabet(self, candidates: Path) -> Alphabet:
        """The study's primitives as they are now.

        Raises HarnessError where a mechanism is no longer the one that was searched with, and as `resolve`.
        """
        alphabet = resolve(self.settings.alphabet, candidates)
        for token, identity in self.settings.identities:
            if alphabet[token].identity != identity:
                raise HarnessError(
                    f"{token}: expected the source {identity[:12]} that {self.settings.study_id} searched "
                    f"with, got {alphabet[token].identity[:12]}. Restore the candidate, or search again."
                )
        return alphabet

    def best(self) -> Composition:
        """The winner: of the final split, else of the re-tests, else the best trial so far.

        Raises HarnessError where no trial has a fitness.
        """
        if read := self.state.bodies(FINAL_BEGUN):
            return Composition(tuple(read[0]["tokens"][0]))
        if tested := self.retested():
            return tested[0].composition
        if ranked := self.state.ranked():
            return ranked[0].composition
        raise HarnessError(
            f"{self.folder}: expected a trial with a score, got none of {len(self.state.entries)}. "
            "Let the study go on."
        )

    def retested(self) -> list[Retested]:
        """All that was re-tested, controls' winners too, the last time that each was; the best first."""
        results = [values for body in self.state.bodies(RETESTED) for values in body["results"]]
        last = {one.composition: one for one in map(Retested.from_json, results)}
        return sorted(last.values(), key=lambda one: -one.interval.mean)


def read_study(name: str, runs: Path) -> ReadStudy:
    """The study in the folder `name`, or of that id under `runs`.

    Raises WrongUsage where there is none, HarnessError for a file that is damaged.
    """
    folder = next((path for path in (Path(name), runs / name) if is_file(path / RECORD)), None)
    if folder is None:
        known = sorted(path.parent.name for path in runs.glob(f"*/{RECORD}"))
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.3) or known[-3:]
        raise WrongUsage(
            f"study: expected a study's folder, or its id under {runs}, got {name!r}. "
            f"There: {', '.join(near) or 'none'}."
        )
    with Store(folder / RECORD, read_only=True) as store:
        started = next(store.events(), None)
        state = StudyState.replay(store)
    if started is None or started.kind != "started":
        raise HarnessError(f"{folder}: expected a study that had begun, got an empty one. Start it again.")
    try:
        settings = _settings(started.body)
    except (KeyError, TypeError, ValueError) as error:
        raise HarnessError(
            f"{folder}: expected settings of this version, got {error}. Search again with this version."
        ) from None
    return ReadStudy(folder=folder, settings=settings, state=state)


def _settings(values: Mapping[str, Any]) -> StudySettings:
    """What `StudySettings.to_json` gave. Raises KeyError or TypeError for anything else."""
    fields = {name: value for name, value in values.items() if name != "recipe"}
    limits = fields["limits"]
    return StudySettings(
        **{
            **fields,
            "alphabet": tuple(fields["alphabet"]),
            "identities": tuple((token, identity) for token, identity in fields["identities"]),
            "rungs": tuple(Rung(**rung) for rung in fields["rungs"]),
            "data": tuple((name, identity) for name, identity in fields["data"]),
            "limits": None if limits is None else Limits(**limits),
        }
    )
