from __future__ import annotations

from pathlib import Path

import pytest

from harness.compose.composition import parse
from harness.errors import HarnessError
from harness.report.compose_pictures import (
    Curve,
    Placed,
    Spent,
    best_so_far,
    draw_curves,
    draw_frontier,
    draw_layers,
    draw_progress,
    frontier,
    shares,
)

PNG = b"\x89PNG"


def placed(text: str, fitness: float, latency: float) -> Placed:
    return Placed(composition=parse(text), fitness=fitness, latency=latency)


def test_the_best_so_far_never_falls_and_costs_add_up() -> None:
    trials = [Spent(cost=1.0, fitness=0.2), Spent(cost=2.0, fitness=0.1), Spent(cost=1.0, fitness=0.4)]
    assert best_so_far(trials) == ([1.0, 3.0, 4.0], [0.2, 0.2, 0.4])


def test_the_frontier_leaves_out_what_another_beats_in_both() -> None:
    quick, good, beaten = placed("M", 0.1, 1.0), placed("mA M", 0.9, 3.0), placed("M M", 0.1, 2.0)
    assert frontier([good, beaten, quick]) == [quick, good]


def test_shares_of_a_layer_sum_to_one() -> None:
    table = shares([parse("mA M"), parse("M M"), parse("mA mA")], ["mA", "M"])
    assert table == [[2 / 3, 1 / 3], [1 / 3, 2 / 3]]


def test_pictures_are_png_files_with_the_same_bytes_twice(tmp_path: Path) -> None:
    trials = {"tpe": [Spent(cost=1.0, fitness=0.2)], "random": [Spent(cost=2.0, fitness=0.1)]}
    points = [placed("4M", 0.1, 1e-3), placed("2mA+2M", 0.9, 2e-3)]
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        draw_progress(trials, folder / "a.png", cost="steps", fitness="accuracy", title="t")
        draw_layers([point.composition for point in points], ["mA", "M"], folder / "b.png", title="t")
        draw_frontier(points, folder / "c.png", latency="prefill", fitness="accuracy", title="t")
    for picture in ("a.png", "b.png", "c.png"):
        first = (tmp_path / "one" / picture).read_bytes()
        assert first.startswith(PNG)
        assert first == (tmp_path / "two" / picture).read_bytes()


def test_names_of_files_are_drawn_as_they_are_and_not_as_formulas(tmp_path: Path) -> None:
    name = r"text/c$\foo$_^{.jsonl"
    trials = {name: [Spent(cost=1.0, fitness=0.2)]}
    points = [placed("4M", 0.1, 1e-3)]
    draw_progress(trials, tmp_path / "a.png", cost=name, fitness=name, title=name)
    draw_layers([parse("M")], [name], tmp_path / "b.png", title=name)
    draw_frontier(points, tmp_path / "c.png", latency=name, fitness=name, title=name)
    curves = [Curve(name=name, points=[(1, 0.5)])]
    draw_curves(curves, tmp_path / "d.png", level=0.0, title=name, score=name)
    assert len(list(tmp_path.iterdir())) == 4


def test_a_picture_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="cannot be written"):
        draw_layers([parse("M")], ["M"], tmp_path / "missing" / "x.png", title="t")
