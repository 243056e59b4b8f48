"""Bounds of launches as a table: work, traffic, what each pipe needs, and which of them bounds."""

from __future__ import annotations

import io
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from verify.device.sheets import DeviceSheet
from verify.roofline.bounds import LABEL, PIPES, LaunchBound, total_seconds
from verify.triton_cpu.counting.counts import SECTOR_BYTES

_COLUMNS = ("step", "programs", "dot", "fp32", "special", "L2 MB", "DRAM MB", "FLOP/B")
_WIDTH = 160


def table_lines(bounds: Sequence[LaunchBound], phases: Sequence[str]) -> list[str]:
    """One row a launch, and their sums; a line between phases ("forward", "backward")."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for name in (*_COLUMNS, *(f"{pipe} us" for pipe in PIPES), "at least us"):
        table.add_column(name, justify="left" if name == "step" else "right", no_wrap=True)
    following = [*phases[1:], "sums"]
    for bound, phase, after in zip(bounds, phases, following, strict=True):
        table.add_row(*_row(bound), end_section=phase != after)
    sums = [sum(bound.seconds[pipe] for bound in bounds) for pipe in PIPES]
    blank = [""] * (len(_COLUMNS) - 1)
    table.add_row("together", *blank, *(f"{_micro(one)} " for one in sums), _micro(total_seconds(bounds)))
    console = Console(file=io.StringIO(), width=_WIDTH, no_color=True, markup=False)
    with console.capture() as captured:
        console.print(table)
    return [line.rstrip() for line in captured.get().splitlines() if line.strip()]


def legend(sheet: DeviceSheet) -> list[str]:
    """What the columns are, and where the rates are from."""
    return [
        "programs: run / all. dot, fp32: GFLOP; special: 1e9 calls. L2: sectors, each once for a program.",
        "DRAM: touched bytes, each once for a launch. *: the pipe that bounds; a pipe takes no less than",
        "its longest program, or all waves, on one multiprocessor.",
        f"{LABEL}. Rates: {sheet.source}.",
    ]


def _row(bound: LaunchBound) -> list[str]:
    launch, counts = bound.launch, bound.launch.counts
    sectors = counts.fetched_sectors + counts.flushed_sectors
    pipes = [_micro(bound.seconds[pipe]) + ("*" if pipe == bound.bound_by else " ") for pipe in PIPES]
    return [
        launch.kernel,
        f"{launch.sampled} / {launch.size:,}" if launch.sampled else "",
        _scaled(sum(counts.dot_flops.values()), 1e9),
        _scaled(counts.fp32_flops, 1e9),
        _scaled(counts.special_ops, 1e9),
        _scaled(SECTOR_BYTES * sectors, 1e6),
        _scaled(counts.unique_bytes, 1e6),
        f"{counts.intensity:.3g}" if counts.intensity < 1000 else f"{counts.intensity:,.0f}",
        *pipes,
        _micro(bound.total),
    ]


def _scaled(value: float, unit: float) -> str:
    if not value:
        return "-"
    return f"{value / unit:.3g}" if value < 100 * unit else f"{value / unit:,.0f}"


def _micro(seconds: float) -> str:
    return f"{seconds * 1e6:,.1f}" if seconds < 1e-3 else f"{seconds * 1e6:,.0f}"
