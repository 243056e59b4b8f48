"""A study as an Optuna journal: what `optuna-dashboard FILE` shows, and Optuna's importances and plots read.

The study's own record is the truth. The journal is written after it, one finished trial at a time, and made
anew from it wherever the two disagree: after a kill between the two, in the middle of a line, or while the
journal's lock was held.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial

from harness.compose.optuna_trials import STATES, composition_of, frozen, quiet
from harness.compose.study_settings import StudySettings
from harness.compose.study_state import Entry
from harness.errors import HarnessError


class OptunaMirror:
    """The journal of one study. Only the process that holds the study's folder may open it for writing."""

    def __init__(self, path: Path, settings: StudySettings) -> None:
        quiet()
        self._path = path
        self._settings = settings
        self._study: optuna.Study | None = None

    def write(self, entries: Sequence[Entry]) -> None:
        """Add what the journal lacks of `entries`: all trials so far, in order, every one finished.

        Raises HarnessError where it cannot be written.
        """
        try:
            if self._study is None:
                self._study = self._open(entries)
            for entry in entries[len(self._study.get_trials(deepcopy=False)) :]:
                self._study.add_trial(self._frozen(entry))
        except OSError as error:
            raise HarnessError(
                f"{self._path}: cannot be written ({error.strerror}). What was finished is kept: make room "
                "or permission, then run the same command again."
            ) from None

    def _frozen(self, entry: Entry) -> FrozenTrial:
        return frozen(
            entry.trial,
            self._settings.space,
            rung_means=entry.rung_means(),
            attributes=self._attributes(entry),
        )

    def _open(self, entries: Sequence[Entry]) -> optuna.Study:
        lock = self._path.with_name(self._path.name + ".lock")
        if lock.is_symlink() or not _ends_with_an_entry(self._path) or not self._agrees(entries):
            lock.unlink(missing_ok=True)
            self._path.unlink(missing_ok=True)
        study = optuna.create_study(
            storage=self._storage(),
            study_name=self._settings.study_id,
            direction="maximize",
            load_if_exists=True,
        )
        if "settings" not in study.user_attrs:
            study.set_user_attr("settings", self._settings.to_json())
        return study

    def _agrees(self, entries: Sequence[Entry]) -> bool:
        """Are the journal's trials the first of ours?"""
        try:
            study = optuna.load_study(storage=self._storage(), study_name=self._settings.study_id)
            trials = study.get_trials(deepcopy=False)
            return len(trials) <= len(entries) and all(
                composition_of(self._settings.space, trial.params) == entry.composition
                and entry.outcome is not None
                and trial.state == STATES[entry.outcome]
                and list(trial.intermediate_values.values()) == entry.rung_means()
                for trial, entry in zip(trials, entries, strict=False)
            )
        except Exception:  # noqa: BLE001  a journal that cannot be read is made anew, whatever is wrong with it
            return False

    def _storage(self) -> JournalStorage:
        return JournalStorage(JournalFileBackend(str(self._path)))

    def _attributes(self, entry: Entry) -> dict[str, Any]:
        settings = self._settings
        seeds = settings.rungs[entry.rung].seeds if entry.scores else 0
        return {
            "composition": str(entry.composition),
            "runs": entry.composition.run_length(),
            "outcome": entry.outcome,
            "reason": entry.reason,
            "seeds": [
                str(settings.request(entry.composition, index=index, steps=1).seed) for index in range(seeds)
            ],
        }


def _ends_with_an_entry(path: Path) -> bool:
    """Optuna overlooks a damaged last line, and cannot read the journal once another follows it."""
    if not path.is_file():
        return False
    before, end, after = path.read_bytes().rpartition(b"\n")
    try:
        json.loads(before.rpartition(b"\n")[2])
    except ValueError:
        return False
    return bool(end) and not after
