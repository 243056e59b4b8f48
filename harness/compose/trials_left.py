"""What a study still has to do, told from its record alone."""

from __future__ import annotations

from collections.abc import Sequence

from harness.compose.study_settings import StudySettings
from harness.compose.study_state import Entry


def is_spent(settings: StudySettings, entries: Sequence[Entry]) -> bool:
    """Are the training steps used up, which a control may not exceed?"""
    most = settings.max_steps
    return most is not None and sum(entry.steps for entry in entries) >= most


def trials_left(settings: StudySettings, entries: Sequence[Entry]) -> int:
    """Trials that the same command would still finish, at most: those under way, and those of further rounds
    where neither the budget, nor the steps, nor the compositions that there are have come to their end.
    """
    under_way = sum(entry.outcome is None for entry in entries)
    tried = len({entry.composition for entry in entries}) >= settings.space.size
    ended = tried or (not under_way and is_spent(settings, entries))
    return under_way + (0 if ended else max(0, settings.budget - len(entries)))
