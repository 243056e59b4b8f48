"""The roofline chart: roofs as lines, one labelled dot for each kernel, readable without colours.

matplotlib (extra `report`) is loaded when a picture is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from verify.device.sheets import DeviceSheet
from verify.errors import InfrastructureError
from verify.roofline.bounds import PIPES, LaunchBound

Edges = tuple[float, float, float, float]
Pixel = tuple[float, float]
Point = tuple[float, float]

MARKERS = {"tensor": "s", "fp32": "^", "special": "D", "L2": "v", "DRAM": "o"}
_DPI = 130
_FONT = 8.5
_RINGS = (8.0, 14.0, 22.0, 32.0, 44.0, 58.0, 74.0, 92.0, 112.0, 140.0, 180.0)
"""Distances in points at which a label looks for room."""

_SAME = 10.0
"""Pixels between dots that share a label."""


@dataclass(frozen=True, kw_only=True)
class Roof:
    """A limit in FLOPs a second: `slope` x intensity, or `level` where it does not depend on it."""

    label: str
    dash: Any
    slope: float | None = None
    level: float | None = None


def roofs_of(bounds: Sequence[LaunchBound], sheet: DeviceSheet) -> list[Roof]:
    """The device's roofs, those of matrix products for the operand types that are in use."""
    types = sorted({name for bound in bounds for name in bound.launch.counts.dot_flops})
    dots = {name: sheet.tensor_flops(name) for name in types if sheet.dot_rate(name)[0] == "tensor"}
    return [
        Roof(label=f"DRAM, {sheet.dram_bytes / 1e12:.3g} TB/s", dash="-", slope=sheet.dram_bytes),
        Roof(
            label=f"L2, {sheet.l2_bytes / 1e12:.3g} TB/s (FLOP per byte from L2)",
            dash=(0, (7, 3)),
            slope=sheet.l2_bytes,
        ),
        *(
            Roof(
                label=f"tensor cores, {name}, {rate / 1e12:,.4g} TFLOP/s",
                dash=(0, (12, 2) + (2, 2) * index),
                level=rate,
            )
            for index, (name, rate) in enumerate(dots.items(), 1)
        ),
        Roof(
            label=f"fp32 units, {sheet.vector_flops / 1e12:.3g} TFLOP/s",
            dash=(0, (4, 2, 1, 2)),
            level=sheet.vector_flops,
        ),
        Roof(
            label=f"special functions, {sheet.special_rate / 1e12:.3g} T calls/s",
            dash=(0, (1, 2)),
            level=sheet.special_rate,
        ),
    ]


def write_chart(bounds: Sequence[LaunchBound], sheet: DeviceSheet, path: Path, *, title: str) -> None:
    """Draw launches on a device's roofs into a PNG.

    Raises InfrastructureError where matplotlib is missing, ValueError where no launch does any FLOP.
    """
    figure_of(bounds, sheet, title=title).savefig(path, format="png", metadata={"Software": None})


def figure_of(bounds: Sequence[LaunchBound], sheet: DeviceSheet, *, title: str) -> Any:
    """The chart as a matplotlib figure; see `write_chart`."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415  only for a picture
        from matplotlib.figure import Figure  # noqa: PLC0415  as above
    except ImportError as error:
        raise InfrastructureError(
            f"--png: expected matplotlib to be installed, got {error}. Install the extra: "
            "pip install 'aira-harness[report]'"
        ) from None
    drawn = [bound for bound in bounds if bound.launch.counts.flops and bound.launch.counts.unique_bytes]
    if not drawn:
        raise ValueError("--png: expected a launch with floating-point work and memory traffic, got none")
    figure = Figure(figsize=(9.0, 6.6), dpi=_DPI, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots()
    points = [(one.launch.counts.intensity, one.launch.counts.flops / one.total) for one in drawn]
    _draw_roofs(axes, roofs_of(drawn, sheet), points)
    for bound, (x, y) in zip(drawn, points, strict=True):
        axes.plot(x, y, MARKERS[bound.bound_by], ms=7.5, mfc="0.35", mec="black", mew=0.8, zorder=4)
    for pipe in PIPES:
        if any(bound.bound_by == pipe for bound in drawn):
            axes.plot([], [], MARKERS[pipe], ms=7.5, mfc="0.35", mec="black", label=f"bound by {_long(pipe)}")
    axes.set_xlabel("arithmetic intensity, FLOP per byte from or to DRAM")
    axes.set_ylabel("FLOP a second, at most (predicted)")
    left = sorted({bound.launch.kernel for bound in bounds if bound not in drawn})
    rest = f"\nwithout floating-point work, not drawn: {', '.join(left)}" if left else ""
    axes.set_title(f"{title}\n{sheet.name}; a bound from a model, not a measurement{rest}", fontsize=10)
    figure.legend(loc="outside lower center", ncols=2, fontsize=_FONT, frameon=False, handlelength=3.6)
    canvas.draw()
    figure.set_layout_engine("none")  # labels are placed on what is drawn now
    _label(axes, canvas.get_renderer(), points, drawn)
    return figure


def _long(pipe: str) -> str:
    words = {"tensor": "tensor cores", "fp32": "fp32 units", "special": "special functions"}
    return words.get(pipe, pipe)


def _told(bounds: Sequence[LaunchBound]) -> str:
    """The label of dots that lie on one another: a line for each kernel, with its time."""
    times: dict[str, list[float]] = {}
    for bound in bounds:
        times.setdefault(bound.launch.kernel, []).append(bound.total * 1e6)
    return "\n".join(
        f"{kernel}{f' ({len(each)} launches)' if len(each) > 1 else ''}, {_micro(sum(each))} us"
        for kernel, each in times.items()
    )


def _micro(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _draw_roofs(axes: Any, roofs: Sequence[Roof], points: Sequence[Point]) -> None:
    """Lines over the range of the dots and a little more, so that every ridge is in sight."""
    levels = [roof.level for roof in roofs if roof.level is not None]
    slopes = [roof.slope for roof in roofs if roof.slope is not None]
    top = max(levels)
    low = min([x for x, _ in points] + [min(levels) / max(slopes)]) / 4.0
    high = max([x for x, _ in points] + [top / min(slopes)]) * 6.0
    x = np.geomspace(low, high, 400)
    for roof in roofs:
        y = np.full_like(x, roof.level) if roof.level is not None else np.minimum(x * (roof.slope or 0), top)
        inside = x * (roof.slope or math.inf) <= top * 1.0001
        shown = x[inside] if roof.slope is not None else x
        heavy = roof.slope == min(slopes) or roof.level == top
        axes.plot(
            shown,
            y[: len(shown)],
            linestyle=roof.dash,
            color="0.0" if heavy else "0.3",
            lw=1.8 if heavy else 1.3,
            label=roof.label,
            zorder=2,
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(low, high)
    axes.set_ylim(min([y for _, y in points] + [min(levels)]) / 4.0, top * 2.5)
    axes.grid(visible=True, which="major", color="0.9", lw=0.6, zorder=0)


def _label(axes: Any, renderer: Any, points: Sequence[Point], bounds: Sequence[LaunchBound]) -> None:
    """Name each dot where nothing is written or drawn yet; far labels get a line to their dot."""
    whole = axes.get_window_extent(renderer)
    room = _Room((whole.x0 + 2.0, whole.y0 + 2.0, whole.x1 - 2.0, whole.y1 - 2.0))
    pixels = [(float(x), float(y)) for x, y in axes.transData.transform(points)]
    for pixel in pixels:
        room.block(_around(pixel, 9.0, 9.0))
    for line in axes.get_lines():
        if len(line.get_xdata()) > 1:  # a roof; dots are lines of one point
            for x, y in axes.transData.transform(line.get_xydata()):
                room.block(_around((x, y), 2.0, 2.0))
    for group in _groups(pixels):
        point, at = points[group[0]], pixels[group[0]]
        text = _told([bounds[index] for index in group])
        probe = axes.annotate(text, point, fontsize=_FONT, textcoords="offset points", xytext=(0, 0))
        size = probe.get_window_extent(renderer)
        probe.remove()
        middle, far = room.find(at, float(size.width), float(size.height))
        axes.annotate(
            text, point, fontsize=_FONT, textcoords="offset points", zorder=5, annotation_clip=False,
            xytext=((middle[0] - at[0]) * 72.0 / _DPI, (middle[1] - at[1]) * 72.0 / _DPI),
            ha="center", va="center",
            arrowprops={"arrowstyle": "-", "color": "0.45", "lw": 0.7, "shrinkB": 4.0} if far else None,
        )  # fmt: skip


def _groups(pixels: Sequence[Pixel]) -> list[list[int]]:
    """Dots that lie on one another, by index: they share a label."""
    groups: list[list[int]] = []
    for index, (x, y) in enumerate(pixels):
        near = (g for g in groups if np.hypot(pixels[g[0]][0] - x, pixels[g[0]][1] - y) < _SAME)
        found = next(near, None)
        if found is None:
            groups.append([index])
        else:
            found.append(index)
    return groups


class _Room:
    """Where labels may go: not over anything, and no line to a dot through another label."""

    def __init__(self, inside: Edges) -> None:
        self._inside = inside
        self._taken: list[Edges] = []
        self._labels: list[Edges] = []
        self._leaders: list[Pixel] = []

    def block(self, box: Edges) -> None:
        """Nothing may be written here."""
        self._taken.append(box)

    def find(self, dot: Pixel, width: float, height: float) -> tuple[Pixel, bool]:
        """The middle of a label for the dot, and whether it is far from it; the place is taken then."""
        for ring, reach in enumerate(_RINGS):
            for across, up in _DIRECTIONS:
                middle = (
                    dot[0] + across * (reach * _DPI / 72.0 + width / 2.0),
                    dot[1] + up * (reach * _DPI / 72.0 + height / 2.0),
                )
                box = _around(middle, width / 2.0 + 2.0, height / 2.0 + 1.0)
                leader = _between(dot, middle, box) if ring else []
                if self._free(box, leader):
                    self._labels.append(box)
                    self._leaders += leader
                    return middle, ring > 0
        return self._anywhere(dot, width, height), True

    def _anywhere(self, dot: Pixel, width: float, height: float) -> Pixel:
        """The free place nearest to the dot, whatever its line crosses; the dot where there is none."""
        left, low, right, high = self._inside
        columns = np.arange(left + width / 2.0 + 2.0, right - width / 2.0, 8.0)
        rows = np.arange(low + height / 2.0 + 1.0, high - height / 2.0, 6.0)
        places = [(float(x), float(y)) for x in columns for y in rows]
        for middle in sorted(places, key=lambda place: np.hypot(place[0] - dot[0], place[1] - dot[1])):
            box = _around(middle, width / 2.0 + 2.0, height / 2.0 + 1.0)
            if not any(_overlap(box, other) for other in (*self._taken, *self._labels)):
                self._labels.append(box)
                return middle
        return dot

    def _free(self, box: Edges, leader: Sequence[Pixel]) -> bool:
        left, low, right, high = self._inside
        if box[0] < left or box[1] < low or box[2] > right or box[3] > high:
            return False
        if any(_overlap(box, other) for other in (*self._taken, *self._labels)):
            return False
        if any(_holds(box, point) for point in self._leaders):
            return False
        return not any(_holds(label, point) for label in self._labels for point in leader)


_DIRECTIONS: tuple[tuple[float, float], ...] = (
    *((1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0)),
    *((1.0, -1.0), (-1.0, 1.0), (1.0, 1.0), (-1.0, -1.0)),
    *((1.0, -0.5), (-1.0, 0.5), (1.0, 0.5), (-1.0, -0.5), (0.5, -1.0), (-0.5, 1.0)),
)


def _around(middle: Pixel, across: float, up: float) -> Edges:
    return middle[0] - across, middle[1] - up, middle[0] + across, middle[1] + up


def _between(dot: Pixel, middle: Pixel, box: Edges) -> list[Pixel]:
    """Points of the line from a dot to its label, outside of the label."""
    shares = (step / 40.0 for step in range(41))
    line = [(dot[0] + s * (middle[0] - dot[0]), dot[1] + s * (middle[1] - dot[1])) for s in shares]
    return [point for point in line if not _holds(box, point)]


def _overlap(one: Edges, other: Edges) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _holds(box: Edges, point: Pixel) -> bool:
    return box[0] < point[0] < box[2] and box[1] < point[1] < box[3]
