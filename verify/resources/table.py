"""Compile reports as people read them: a table, then what is wrong, and the census if it was asked for."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from verify.findings import Finding
from verify.triton_cpu.compiler.census import GROUPS

_WIDTH = 170
_COLUMNS = (
    *("kernel", "target", "warps x stages", "registers", "spilled", "shared", "occupancy", "limited by"),
    *("tensor cores", "dots", "offsets", "launches", "s"),
)
_WORDS = {"kernel", "target", "limited by", "tensor cores", "dots", "offsets"}


def document_lines(document: Mapping[str, Any]) -> list[str]:
    """The table, findings and census of every mechanism and every library's operator."""
    rows = [*document["mechanisms"], *document.get("libraries", ())]
    return [line for row in rows for line in mechanism_lines(row)]


def without_seconds(document: Mapping[str, Any]) -> dict[str, Any]:
    """The same document without the one thing in it that varies."""

    def still(row: Mapping[str, Any]) -> dict[str, Any]:
        reports = [{key: value for key, value in one.items() if key != "seconds"} for one in row["reports"]]
        return {**row, "reports": reports}

    return {
        key: [still(row) for row in value] if key in ("mechanisms", "libraries") else value
        for key, value in document.items()
    }


def mechanism_lines(mechanism: Mapping[str, Any]) -> list[str]:
    """One mechanism of the document of `verify compile`."""
    path = mechanism["path"]
    launches = ", ".join(f"{count} at {label}" for label, count in mechanism["launches"].items())
    lines = [f"{path}: {launches or 'nothing was compiled'}" + (" (launches)" if launches else "")]
    if mechanism["reports"]:
        lines += report_lines(mechanism["reports"])
    lines += [f"  {Finding(**finding).render(path)}" for finding in mechanism["findings"]]
    return [*lines, ""]


def report_lines(reports: Sequence[Mapping[str, Any]]) -> list[str]:
    """A table of reports as `CompileReport.shown` gives them, then what needs a sentence."""
    table = Table(box=None, pad_edge=False)
    for name in _COLUMNS:
        table.add_column(name, justify="left" if name in _WORDS else "right", no_wrap=name == "kernel")
    for report in reports:
        table.add_row(*_cells(report))
    lines = [f"  {line.rstrip()}" for line in _drawn(table)]
    for report in reports:
        where = f"{report['kernel']} on {report['target']}"
        advice = report.get("advice")
        lines += [f"  {where}: {text}" for text in report["over_limits"]]
        lines += [f"  {where}: tried: {advice['text']}"] if advice else []
        lines += [f"  {where}: {report['error']}"] if report["error"] else []
        lines += [f"  {where}: the assembler warns: {text}" for text in report["warnings"]]
        if report["ignored"]:
            lines.append(f"  {where}: the target has no option {', '.join(report['ignored'])}; left out")
        if report["census"] is not None:
            lines.append(f"  {where}: {census_text(report['census'])}")
    return lines


def census_text(census: Mapping[str, Mapping[str, int]]) -> str:
    """'1,056 instructions; tensor core: HMMA.16816.F32.BF16 32; special: MUFU.EX2 41, MUFU.RCP 2; ...'"""
    total = census.get("all", {}).get("total", 0)
    groups = [
        f"{group}: " + ", ".join(f"{name} {count}" for name, count in names.items())
        for group in GROUPS
        if group != "all" and (names := census.get(group))
    ]
    return "; ".join([f"{total:,} instructions", *groups])


def _cells(report: Mapping[str, Any]) -> list[str]:
    seconds = f"{report['seconds']:.2f}" if "seconds" in report else ""
    shape = f"{report['num_warps']} x {report['num_stages']}"
    if report["error"] is not None:
        empty = [*["-"] * 4, "does not compile", *[""] * 3]
        return [report["kernel"], report["target"], shape, *empty, str(report["launches"]), seconds]
    fit = report["occupancy"]
    shared = f"{report['shared_bytes']:,}"
    return [
        report["kernel"],
        report["target"],
        shape,
        str(report["registers"]),
        f"{report['spill_bytes']:,}",
        f"{shared} > {report['shared_limit_bytes']:,}" if "shared memory" in _over(report) else shared,
        f"{fit['percent']}% ({fit['blocks']})",
        "does not fit" if report["over_limits"] else ", ".join(fit["limited_by"]),
        ", ".join(f"{name} {count}" for name, count in report["tensor_units"].items()),
        ", ".join(f"{dot['count']} {_dot_text(dot)}" for dot in report["dots"]),
        ", ".join(f"{name} {count}" for name, count in report["index"].items()),
        str(report["launches"]),
        seconds,
    ]


def _over(report: Mapping[str, Any]) -> str:
    return " ".join(report["over_limits"])


def _dot_text(dot: Mapping[str, Any]) -> str:
    types = dot["left"] if dot["left"] == dot["right"] else f"{dot['left']} x {dot['right']}"
    return f"{types} {dot['precision']}" if dot["precision"] else types


def _drawn(table: Table) -> list[str]:
    """As plain lines, as wide as the terminal, or wide enough off one."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _WIDTH
    buffer = io.StringIO()
    Console(file=buffer, width=max(width, 100), color_system=None).print(table)
    return buffer.getvalue().splitlines()
