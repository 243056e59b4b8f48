"""Where the error of one result sits: error / tolerance over its last two axes, as text and as a picture.

A cell is RMS error over RMS tolerance of its elements, so a cell that is one of the judge's windows shows the
number that the judge compared. NumPy only; matplotlib (extra `report`) is loaded when a picture is asked for.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from verify.dtypes import Float64
from verify.errors import InfrastructureError

ROWS, COLUMNS = 24, 48
"""The largest map in text."""

PIXELS = 512
"""Cells of a picture per axis, at most."""

LEAST_COLOUR = 1e-2
"""Error / tolerance at which a picture's colours begin."""

SHADES: tuple[tuple[float, str], ...] = ((0.5, "·"), (2.0, "░"), (100.0, "▒"), (1e4, "▓"), (np.inf, "█"))
"""Upper bound of error / tolerance, and how such a cell is drawn. Up to 0.5 is what admission allows."""

NONFINITE = "!"

AXES = {
    "B": "sequence (B)",
    "T": "token (T)",
    "H": "head (H)",
    "K": "key feature (K)",
    "V": "value feature (V)",
    "D": "feature (D)",
}


@dataclass(frozen=True, kw_only=True)
class ErrorMap:
    """One slice of a result: `error` and `tolerance` (rows, columns), and what its axes are.

    `fixed` names the other axes and the worst element's index on each; `worst` is its (row, column). A result
    of one axis has one row, and `row_axis` is "".
    """

    result: str
    row_axis: str
    column_axis: str
    fixed: tuple[tuple[str, int], ...]
    error: Float64
    tolerance: Float64
    worst: tuple[int, int]

    @property
    def where(self) -> str:
        """The result and the slice, like "output, sequence (B) 0, head (H) 1"."""
        chosen = [f"{axis_name(name)} {index}" for name, index in self.fixed]
        return ", ".join([self.result, *chosen])

    def cells(self, rows: int, columns: int) -> tuple[Float64, list[int], list[int]]:
        """The map in at most `rows` x `columns` cells, with the edges of both axes.

        inf where an element is not finite.
        """
        row_edges, column_edges = (
            _edges(size, most) for size, most in zip(self.error.shape, (rows, columns), strict=True)
        )
        finite = np.isfinite(self.error)
        error = _sums(np.where(finite, self.error, 0.0) ** 2, row_edges, column_edges)
        allowed = _sums(self.tolerance**2, row_edges, column_edges)
        broken = _sums((~finite).astype(np.float64), row_edges, column_edges)
        cells = np.sqrt(error / np.maximum(allowed, 1e-300))
        return np.where(broken > 0.0, np.inf, cells), row_edges, column_edges


def error_map(
    result: str,
    dims: Sequence[str],
    got: Float64,
    expected: Float64,
    tolerance: Float64,
    *,
    worst: Sequence[int] | None = None,
) -> ErrorMap:
    """The slice of a result around its worst element; its axes are called `dims`, all arrays have its shape.

    Rows are tokens where there are any, else the last axis but one; columns are the last axis; batch and head
    are drawn only where there is nothing else. `worst` is an index, by default that of the largest
    error / tolerance. Raises ValueError where shapes or names do not fit.
    """
    if not (got.shape == expected.shape == tolerance.shape and len(dims) == got.ndim):
        raise ValueError(
            f"{result}: expected three arrays with the axes {list(dims)}, got the shapes {got.shape}, "
            f"{expected.shape} and {tolerance.shape}"
        )
    error = got - expected
    if worst is None:
        ratio = np.abs(error) / np.maximum(tolerance, 1e-300)
        ratio = np.where(np.isfinite(ratio), ratio, np.inf)
        worst = [int(i) for i in np.unravel_index(int(np.argmax(ratio)), got.shape)]
    rows, columns = _drawn(dims)
    fixed = [axis for axis in range(got.ndim) if axis not in (rows, columns)]
    here = tuple(worst[axis] if axis in fixed else slice(None) for axis in range(got.ndim))
    return ErrorMap(
        result=result,
        row_axis="" if rows is None else dims[rows],
        column_axis=dims[columns],
        fixed=tuple((dims[axis], worst[axis]) for axis in fixed),
        error=np.atleast_2d(error[here]),
        tolerance=np.atleast_2d(tolerance[here]),
        worst=(0 if rows is None else worst[rows], worst[columns]),
    )


def text_lines(drawing: ErrorMap) -> list[str]:
    """The map as text, at most ROWS x COLUMNS cells, with the tokens and features that each stands for."""
    cells, row_edges, column_edges = drawing.cells(ROWS, COLUMNS)
    wide = 2 if cells.shape[1] <= COLUMNS // 2 else 1  # square enough to look at
    labels = [_span(top, bottom) for top, bottom in pairwise(row_edges)] if drawing.row_axis else [""]
    width = max(map(len, labels))
    lines = [f"error / tolerance of {drawing.where}, RMS in each cell"]
    if drawing.row_axis:
        lines.append(f"down: {axis_name(drawing.row_axis)}; across: {axis_name(drawing.column_axis)}")
    else:
        lines.append(f"across: {axis_name(drawing.column_axis)}")
    lines.append(f"{'':{width}}  {_ruler(column_edges, wide)}".rstrip())
    for label, row in zip(labels, cells, strict=True):
        lines.append(f"{label:>{width}} |{''.join(shade(cell) * wide for cell in row)}|")
    return [*lines, legend()]


def shade(ratio: float) -> str:
    """The character that stands for an error / tolerance."""
    if not np.isfinite(ratio):
        return NONFINITE
    return next(mark for bound, mark in SHADES if ratio <= bound)


def legend() -> str:
    """What the characters mean."""
    bounds = [f"'{mark}' to {bound:g}" for bound, mark in SHADES[:-1]]
    return f"{', '.join(bounds)}, '{SHADES[-1][1]}' above, '{NONFINITE}' not finite; admission allows 0.5"


def axis_name(name: str) -> str:
    """A dimension's name for readers: "T" is "token (T)"."""
    return AXES.get(name, f"index ({name})")


def write_png(drawings: Sequence[tuple[str, ErrorMap]], path: Path, *, title: str) -> None:
    """Draw maps side by side, each under its caption, with one logarithmic colour bar.

    A ring is around the worst element of each. Raises InfrastructureError where matplotlib is missing.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415  only for a picture
        from matplotlib.colors import LogNorm  # noqa: PLC0415  as above
        from matplotlib.figure import Figure  # noqa: PLC0415  as above
    except ImportError as error:
        raise InfrastructureError(
            f"--png: expected matplotlib to be installed, got {error}. Install the extra: "
            "pip install 'aira-harness[report]'"
        ) from None
    everything = np.concatenate([drawing.cells(PIXELS, PIXELS)[0].ravel() for _, drawing in drawings])
    finite = everything[np.isfinite(everything)]
    norm = LogNorm(vmin=LEAST_COLOUR, vmax=max(10.0, float(finite.max(initial=0.0))))
    figure = Figure(figsize=(2.0 + 5.0 * len(drawings), 5.0), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(drawings), squeeze=False)[0]
    for axes, (caption, drawing) in zip(panels, drawings, strict=True):
        mesh = _draw(axes, drawing, norm)
        axes.set_title("\n".join(textwrap.wrap(f"{caption}; {drawing.where}", 62)), fontsize=9, loc="left")
    bar = figure.colorbar(mesh, ax=list(panels))
    bar.set_label("RMS error / tolerance (no unit; line: 0.5, what admission allows)")
    bar.ax.axhline(0.5, color="cyan", lw=1.5)
    blue = "" if np.isfinite(everything).all() else "; blue: not finite"
    figure.suptitle(f"{title} (ring: worst element{blue})", fontsize=11)
    figure.savefig(path, format="png", metadata={"Software": None})


def _draw(axes: Any, drawing: ErrorMap, norm: Any) -> Any:
    """One map on matplotlib axes; what is not finite stays without a colour, and the ground is blue."""
    from matplotlib.ticker import MaxNLocator, NullLocator  # noqa: PLC0415  loaded by the caller

    cells, row_edges, column_edges = drawing.cells(PIXELS, PIXELS)
    mesh = axes.pcolormesh(
        np.asarray(column_edges) - 0.5,
        np.asarray(row_edges) - 0.5,
        np.ma.masked_invalid(np.maximum(cells, LEAST_COLOUR)),
        norm=norm,
        cmap="inferno",
    )
    axes.set_facecolor("deepskyblue")
    axes.invert_yaxis()
    axes.plot(drawing.worst[1], drawing.worst[0], "o", ms=11, mfc="none", mec="cyan", mew=1.5)
    axes.set_xlabel(f"{axis_name(drawing.column_axis)}, index")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if drawing.row_axis:
        axes.set_ylabel(f"{axis_name(drawing.row_axis)}, index")
        axes.yaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    else:
        axes.yaxis.set_major_locator(NullLocator())
    return mesh


def _drawn(dims: Sequence[str]) -> tuple[int | None, int]:
    """The axes that are drawn as rows (None: one row) and as columns, which come later."""
    inner = [axis for axis, name in enumerate(dims) if name not in ("B", "H")]
    if not inner:
        inner = list(range(len(dims)))
    columns = inner[-1]
    rest = inner[:-1]
    if not rest:
        return None, columns
    tokens = [axis for axis in rest if dims[axis] == "T"]
    return (tokens or rest[-1:])[0], columns


def _edges(size: int, most: int) -> list[int]:
    """Cell borders that split `size` elements into at most `most` runs.

    All runs but the last have the same length, a power of two, so that they end where a kernel's tiles end.
    """
    step = 1
    while step * most < size:
        step *= 2
    return [*range(0, size, step), size]


def _span(start: int, stop: int) -> str:
    return f"{start}" if stop - start == 1 else f"{start}-{stop - 1}"


def _ruler(edges: Sequence[int], wide: int) -> str:
    """The first element of every fourth or eighth cell, above the cell."""
    every = 4 if 4 * wide > len(str(edges[-1])) + 1 else 8
    line = ""
    for cell in range(0, len(edges) - 1, every):
        line = line.ljust(cell * wide) + f"{edges[cell]}"
    return line


def _sums(values: Float64, row_edges: Sequence[int], column_edges: Sequence[int]) -> Float64:
    """The sum of every cell."""
    rows: Float64 = np.add.reduceat(values, row_edges[:-1], axis=0)
    sums: Float64 = np.add.reduceat(rows, column_edges[:-1], axis=1)
    return sums
