"""The chart can be read: nothing is written over anything, and axes have units."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from tests.verify.roofline.test_bounds import launch
from verify.device.sheets import SHEETS
from verify.roofline.bounds import LaunchBound, bound_of
from verify.roofline.chart import figure_of, write_chart
from verify.triton_cpu.counting.counts import Counts

Text = pytest.importorskip("matplotlib.text").Text

H100 = SHEETS["sm_90"]


def crowd(count: int) -> list[LaunchBound]:
    """Kernels of about the same intensity."""
    work = [Counts(dot_flops={"bf16": 1e6 * 1.07**at}, fp32_flops=1e4) for at in range(count)]
    rows = [launch(4096, counts, unique_loaded=3e8) for counts in work]
    return [bound_of(replace(row, kernel=f"kernel_{at}"), H100) for at, row in enumerate(rows)]


def spread() -> list[LaunchBound]:
    """One launch for each pipe that can bound."""
    works = [
        (Counts(dot_flops={"bf16": 1e9}), 1e8),
        (Counts(fp32_flops=1e9), 1e8),
        (Counts(special_ops=1e8), 1e8),
        (Counts(fp32_flops=1e3, fetched_sectors=1e6), 1e8),
        (Counts(fp32_flops=1e3), 1e9),
    ]
    return [bound_of(launch(4096, counts, unique_loaded=moved), H100) for counts, moved in works]


@pytest.fixture(scope="module")
def drawn() -> Any:
    return figure_of(spread(), H100, title="one for each pipe")


def test_no_label_lies_over_another_or_leaves_the_axes(drawn: Any) -> None:
    for figure, count in ((figure_of(crowd(12), H100, title="a crowd"), 12), (drawn, 5)):
        check_labels(figure, count)


def is_dot(line: Any) -> bool:
    return len(line.get_xdata()) == 1


def check_labels(figure: Any, count: int) -> None:
    (axes,) = figure.axes
    renderer = figure.canvas.get_renderer()
    for label in axes.texts:
        label.update_positions(renderer)
    boxes = [Text.get_window_extent(label, renderer) for label in axes.texts]  # without the line to the dot
    assert sum(len(label.get_text().splitlines()) for label in axes.texts) == count
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    marks = axes.transData.transform([line.get_xydata()[0] for line in axes.get_lines() if is_dot(line)])
    assert not any(box.contains(x, y) for box in boxes for x, y in marks)
    frame = axes.get_window_extent(renderer)
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 for box in boxes)
    assert all(frame.y0 <= box.y0 and box.y1 <= frame.y1 for box in boxes)


def test_axes_name_their_units_and_every_roof_and_marker_is_explained(drawn: Any) -> None:
    (axes,) = drawn.axes
    assert "FLOP per byte" in axes.get_xlabel()
    assert "FLOP a second" in axes.get_ylabel()
    (legend,) = drawn.legends
    told = " ".join(text.get_text() for text in legend.get_texts())
    for word in ("DRAM, 3.36 TB/s", "L2,", "tensor cores, bf16", "fp32 units", "special functions"):
        assert word in told
    for pipe in ("tensor cores", "fp32 units", "special functions", "L2", "DRAM"):
        assert f"bound by {pipe}" in told


def test_lines_differ_without_colours(drawn: Any) -> None:
    (axes,) = drawn.axes
    roofs = [line for line in axes.get_lines() if len(line.get_xdata()) > 1]
    styles = {(str(line._unscaled_dash_pattern), line.get_linewidth()) for line in roofs}
    assert len(styles) == len(roofs) == 5
    assert all(float(line.get_color()) <= 0.3 for line in roofs)


def test_dots_that_lie_on_one_another_share_a_label_and_pictures_repeat(tmp_path: Path) -> None:
    same = [*crowd(1), *crowd(1), *crowd(1)]
    figure = figure_of(same, H100, title="thrice")
    (label,) = figure.axes[0].texts
    assert label.get_text() == f"kernel_0 (3 launches), {3e6 * same[0].total:.0f} us"
    figure.savefig(tmp_path / "one.png", format="png", metadata={"Software": None})
    write_chart(same, H100, tmp_path / "two.png", title="thrice")
    one, two = ((tmp_path / name).read_bytes() for name in ("one.png", "two.png"))
    assert one == two
    assert one.startswith(b"\x89PNG")


def test_nothing_to_draw_is_an_error() -> None:
    idle = bound_of(launch(4, Counts(), unique_loaded=100.0), H100)
    with pytest.raises(ValueError, match="expected a launch with floating-point work"):
        figure_of([idle], H100, title="nothing")
