from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.compose.composition import Composition
from harness.compose.engines.cached import MemoryCache
from harness.compose.study import open_study
from harness.compose.study_state import Entry
from harness.compose.trials_left import trials_left
from tests.harness.compose.evaluations import InProcessEngine, settings


@pytest.mark.parametrize(
    "changes",
    [
        {"budget": 16},
        {"budget": 500, "layers": 1},
        {"budget": 500, "layers": 1, "alphabet": ("mA", "M", "Mb"), "width": 3},
        {"budget": 64, "max_steps": 1},
    ],
)
def test_a_study_that_came_to_its_end_has_none_left(tmp_path: Path, changes: dict[str, Any]) -> None:
    asked = settings("random", **changes)
    with open_study(asked, runs=tmp_path, engine=InProcessEngine(), cache=MemoryCache()) as study:
        assert trials_left(asked, study.state.entries) == asked.budget
        for _ in study.run():
            pass
        assert trials_left(asked, study.state.entries) == 0


def test_a_study_that_was_stopped_has_the_rest_left() -> None:
    asked = settings("random", budget=16)
    entries = [
        Entry(
            number=n, composition=Composition((token,) * asked.layers), outcome="complete" if n % 2 else None
        )
        for n, token in enumerate(("mA", "M") * (asked.width // 2))
    ]
    for entry in entries:
        entry.composition = Composition(("mA",) * entry.number + ("M",) * (asked.layers - entry.number))
    assert trials_left(asked, entries) == 16 - asked.width + asked.width // 2
