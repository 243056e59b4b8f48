"""The roofline chart: roofs as lines, one labelled dot for each kernel, readable without colours.

matplotlib (extra `report`) is loaded when a picture is asked for.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from verify.device.sheets import DeviceSheet
from verify.errors import InfrastructureError
from verify.roofline.bounds import PIPES, LaunchBound

MARKERS = {"tensor": "s", "fp32": "^", "special": "D", "L2": "v", "DRAM": "o"}
_DPI = 130
_FONT = 8.5
_RINGS = (9.0, 16.0, 26.0, 40.0, 58.0, 80.0, 110.0, 150.0)
"""Distances in points at which a label looks for room."""


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
    _label(axes, canvas.get_renderer(), points, _names(drawn))
    return figure


def _long(pipe: str) -> str:
    words = {"tensor": "tensor cores", "fp32": "fp32 units", "special": "special functions"}
    return words.get(pipe, pipe)


def _names(drawn: Sequence[LaunchBound]) -> list[str]:
    """Kernel and time of each dot; a kernel that is launched again gets a number."""
    times = Counter(bound.launch.kernel for bound in drawn)
    seen: Counter[str] = Counter()
    names = []
    for bound in drawn:
        kernel = bound.launch.kernel
        seen[kernel] += 1
        number = f" #{seen[kernel]}" if times[kernel] > 1 else ""
        micro = bound.total * 1e6
        names.append(f"{kernel}{number}, {micro:,.0f} us" if micro >= 100 else f"{kernel}{number}, {micro:.3g} us")
    return names


def _draw_roofs(axes: Any, roofs: Sequence[Roof], points: Sequence[tuple[float, float]]) -> None:
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
            shown, y[: len(shown)], linestyle=roof.dash, color="0.0" if heavy else "0.3",
            lw=1.8 if heavy else 1.3, label=roof.label, zorder=2,
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(low, high)
    axes.set_ylim(min([y for _, y in points] + [min(levels)]) / 4.0, top * 2.5)
    axes.grid(visible=True, which="major", color="0.9", lw=0.6, zorder=0)


def _label(axes: Any, renderer: Any, points: Sequence[tuple[float, float]], names: Sequence[str]) -> None:
    """Write each name near its dot where nothing is written yet; far ones get a line to their dot."""
    inside = axes.get_window_extent(renderer)
    pixels = axes.transData.transform(points)
    taken = [_around(x, y, 9.0, 9.0) for x, y in pixels]
    lines = [axes.transData.transform(line.get_xydata()) for line in axes.get_lines() if _is_roof(line)]
    taken += [_around(x, y, 2.0, 2.0) for line in lines for x, y in line]
    for (x, y), name, at in zip(points, names, pixels, strict=True):
        text = axes.annotate(name, (x, y), fontsize=_FONT, textcoords="offset points", xytext=(0, 0))
        size = text.get_window_extent(renderer)
        free = (
            place
            for place in _places(size.width, size.height)
            if _fits(_moved(at, place, size), taken, (inside.x0, inside.y0, inside.x1, inside.y1))
        )
        place = next(free, (0.0, -_RINGS[-1]))
        taken.append(_moved(at, place, size))
        text.remove()
        far = math.hypot(*place) > 2.5 * _RINGS[1] and not _touches(place, size)
        axes.annotate(
            name, (x, y), fontsize=_FONT, textcoords="offset points", zorder=5, annotation_clip=False,
            xytext=(place[0] * 72.0 / _DPI, place[1] * 72.0 / _DPI), ha="center", va="center",
            arrowprops={"arrowstyle": "-", "color": "0.45", "lw": 0.7, "shrinkB": 4.0} if far else None,
        )


def _places(width: float, height: float) -> Iterator[tuple[float, float]]:
    """Offsets in pixels from a dot to the middle of its label, near ones first."""
    for ring in _RINGS:
        reach = ring * _DPI / 72.0
        for across, up in ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1)):
            yield across * (reach + width / 2.0), up * (reach + height / 2.0)


Edges = tuple[float, float, float, float]


def _around(x: float, y: float, width: float, height: float) -> Edges:
    return x - width, y - height, x + width, y + height


def _moved(at: Any, place: tuple[float, float], size: Any) -> Edges:
    return _around(at[0] + place[0], at[1] + place[1], size.width / 2.0 + 2.0, size.height / 2.0 + 1.0)


def _is_roof(line: Any) -> bool:
    return len(line.get_xdata()) > 1


def _fits(box: Edges, taken: Sequence[Edges], inside: Edges) -> bool:
    left, low, right, high = box
    if left < inside[0] + 2 or right > inside[2] - 2 or low < inside[1] + 2 or high > inside[3] - 2:
        return False
    return all(
        right <= other[0] or other[2] <= left or high <= other[1] or other[3] <= low for other in taken
    )


def _touches(place: tuple[float, float], size: Any) -> bool:
    """Whether the label is beside its dot, so that no line is needed."""
    near = _RINGS[1] * _DPI / 72.0 + 1.0
    across, up = abs(place[0]) - float(size.width) / 2.0, abs(place[1]) - float(size.height) / 2.0
    return across <= near and up <= near
