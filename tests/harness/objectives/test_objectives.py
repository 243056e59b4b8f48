from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from harness.errors import WrongUsage
from harness.objectives.lines import Lines
from harness.objectives.opening import OBJECTIVES, open_objective
from harness.objectives.protocol import Passed
from harness.objectives.throughput import Throughput

SOURCE = '''"""A title.

More of it.
"""

import torch  # one


# nothing
def f(
    x,
):  # three lines
    """Not counted."""
    return """two
lines"""
'''


def passed(source: str = SOURCE, **measured: Any) -> Passed:
    return Passed(source=source, measured=measured, folder=Path("nowhere"))


def test_lines_of_code_are_counted_without_docstrings_comments_and_blanks() -> None:
    assert Lines().score(passed()) == -6.0


def test_less_code_is_better_and_an_assigned_text_is_code() -> None:
    assert Lines().score(passed('text = """a\nb"""\n')) == -2.0


def test_throughput_is_the_geometric_mean_over_devices_and_shapes() -> None:
    rows = [{"tokens_per_second": 4e6}, {"tokens_per_second": 1e6}]
    score = Throughput().score(passed(throughput=rows))
    assert score is not None
    assert math.isclose(score, 2.0)


@pytest.mark.parametrize("rows", [[], [{"device": "x"}], [{"tokens_per_second": "9e9"}]])
def test_what_was_not_measured_has_no_throughput(rows: list[Any]) -> None:
    assert Throughput().score(passed(throughput=rows)) is None


def test_every_objective_opens_by_its_name(tmp_path: Path) -> None:
    assert [open_objective(name, runs=tmp_path, workers=1).name for name in OBJECTIVES] == list(OBJECTIVES)
    with pytest.raises(WrongUsage, match="expected one of throughput"):
        open_objective("beauty", runs=tmp_path, workers=1)
