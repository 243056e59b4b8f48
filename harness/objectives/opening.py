"""An objective by its name."""

from __future__ import annotations

from pathlib import Path

from harness.errors import WrongUsage
from harness.objectives.lines import Lines
from harness.objectives.protocol import Objective
from harness.objectives.throughput import Throughput

OBJECTIVES = ("throughput", "learnability", "lines")
"""Names, the default first."""

DEFAULT = OBJECTIVES[0]


def open_objective(name: str, *, runs: Path, workers: int) -> Objective:
    """The objective of that name. Raises WrongUsage naming those there are."""
    if name == "throughput":
        return Throughput()
    if name == "lines":
        return Lines()
    if name == "learnability":
        from harness.objectives.learnability import Learnability  # noqa: PLC0415  loads torch

        return Learnability(runs=runs, workers=workers)
    raise WrongUsage(f"--objective: expected one of {', '.join(OBJECTIVES)}, got {name!r}.")
