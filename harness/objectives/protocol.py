"""What an objective is told and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True, kw_only=True)
class Passed:
    """A mechanism that passed: its text, and where it was admitted what the judge measured and the folder
    that holds it or its twin. At depth quick nothing is measured and nothing is admitted.
    """

    source: str
    measured: Mapping[str, Any]
    folder: Path | None


class Objective(Protocol):
    """Scores mechanisms that passed."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> int:
        """Goes up when scores change, so that no run mixes the two kinds."""
        ...

    def score(self, passed: Passed) -> float | None:
        """The higher the better; None where this kind of mechanism has no such score."""
        ...
