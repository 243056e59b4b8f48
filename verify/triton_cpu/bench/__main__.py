"""`python -m verify.triton_cpu.bench [--json FILE] [--rounds N] [WORKLOAD ...]`: the table of ratios.

A workload is a mechanism's file or the name of an operator; the default is every skeleton and every operator.
Exit codes: 0 the promises hold, 1 one does not, 3 nothing could be measured. Times are processor seconds of
one thread, the least of all rounds, everything from one run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from verify.triton_cpu.bench.compare import SANITIZER_LIMIT, SPEED_LIMIT, Row, distance, row_of, summary
from verify.triton_cpu.bench.operators import OPERATORS
from verify.triton_cpu.bench.tape import Results, Tape

FAMILIES = ("linear_state", "softmax_attention")
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
TIMED = "float32"


def workloads() -> list[str]:
    """Every skeleton under templates/, and every operator."""
    import templates  # noqa: PLC0415 - a folder of files, named only where the default is asked for

    folder = Path(templates.__file__).parent
    files = [file for family in FAMILIES for file in sorted((folder / family).glob("v*/*.py"))]
    return [*(str(file) for file in files), *OPERATORS]


def _child(module: str, *arguments: str, interpret: bool = False) -> dict[str, Any]:
    """What a program of this package printed last, as JSON."""
    environment = {**os.environ, **ONE_THREAD}
    environment.pop("TRITON_INTERPRET", None)
    if interpret:
        environment["TRITON_INTERPRET"] = "1"
    command = [sys.executable, "-m", f"verify.triton_cpu.bench.{module}", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - ours
    lines = done.stdout.strip().splitlines()
    if done.returncode != 0 or not lines:
        return {"error": (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]}
    answer: dict[str, Any] = json.loads(lines[-1])
    return answer


def _shown(file: Path) -> str:
    """family/skeleton, without the folder of its version."""
    return "/".join(part for part in file.with_suffix("").parts[-3:] if not part.startswith("v"))


def measure(workload: str, rounds: int) -> Row:
    """Run one workload on both sides, each in a process of its own."""
    name = workload if workload in OPERATORS else _shown(Path(workload))
    print(f"measuring {name}", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        ours = _child("ours", workload, folder, str(rounds))
        if "error" in ours:
            return row_of(name, ours, {}, None)
        stock = _child("stock", str(place / TIMED), str(place / "stock"), str(rounds), interpret=True)
        apart = None
        if "seconds" in stock:
            apart = distance(Tape(place / TIMED), Results(place / "ours"), Results(place / "stock"))
        return row_of(name, ours, stock, apart)


def _line(row: Row) -> str:
    """A row in short, for whoever waits."""
    pairs = (("stock", "plain"), ("unbatched", "plain"), ("sanitizer", "plain"))
    ratios = [f"{slow} / {fast} {_number(row.ratio(slow, fast), '.2f')}" for slow, fast in pairs]
    return ", ".join([*ratios, *((row.missing,) if row.missing else ())])


def table_of(rows: list[Row]) -> Table:
    """One line per workload: seconds, ratios, and what differs."""
    table = Table(title="processor seconds of all launches, float32, one thread")
    for column in ("workload", "launches", "programs", "stock", "unbatched", "plain", "sanitizer"):
        left = column == "workload"
        table.add_column(column, justify="left" if left else "right", no_wrap=left)
    for column in ("stock / plain", "unbatched / plain", "sanitizer / plain", "apart", "same bits"):
        table.add_column(column, justify="right")
    for row in rows:
        if not row.seconds:
            table.add_row(row.name, *(["-"] * 11))
            continue
        mark = " *" if row.patched else ""
        table.add_row(
            row.name,
            str(row.launches),
            str(row.programs),
            *(_number(row.seconds.get(key), ".3f") for key in ("stock", "unbatched", "plain", "sanitizer")),
            _number(row.ratio("stock", "plain"), ".2f") + mark,
            _number(row.ratio("unbatched", "plain"), ".2f"),
            _number(row.ratio("sanitizer", "plain"), ".2f"),
            _number(row.apart, ".1e"),
            ", ".join(row.different) or "yes",
        )
    return table


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _print(rows: list[Row], found: dict[str, Any]) -> None:
    console = Console(width=max(160, Console().width))
    console.print(table_of(rows))
    console.print(
        "stock: the interpreter that Triton ships. apart: largest difference between its results and ours, "
        "relative to the RMS. same bits: unbatched, plain and sanitizer, after every launch, in float32, "
        "bfloat16 and float16. *: stock refuses the kernel as it stands (loop variables are Python numbers "
        "there) and ran with loop variables that are tensors."
    )
    for row in rows:
        if row.missing:
            console.print(f"{row.name}: {row.missing}")
    console.print(
        f"geometric mean over {found['rows with a ratio']} of {found['rows']} rows: "
        f"stock / plain {_number(found['stock / plain'], '.2f')} (at least {SPEED_LIMIT:g}), "
        f"unbatched / plain {_number(found['unbatched / plain'], '.2f')}, "
        f"sanitizer / plain {_number(found['sanitizer / plain'], '.2f')} (at most {SANITIZER_LIMIT:g}; "
        f"largest {_number(found['sanitizer / plain, largest'], '.2f')})"
    )


def main(arguments: list[str]) -> int:
    """Run the benchmark; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m verify.triton_cpu.bench", description=__doc__)
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers to this file")
    parser.add_argument("--rounds", type=int, default=3, help="timed rounds of every mode (default: 3)")
    given = parser.parse_args(arguments)
    if given.rounds < 1:
        parser.error(f"expected --rounds of at least 1, got {given.rounds}")
    rows = []
    for workload in given.workloads or workloads():
        rows.append(measure(workload, given.rounds))
        print(f"  {_line(rows[-1])}", file=sys.stderr)
    found = summary(rows)
    _print(rows, found)
    if given.json is not None:
        machine = {
            "python": platform.python_version(),
            "processor": platform.machine(),
            "cores": os.cpu_count(),
        }
        document = {"rows": [asdict(row) for row in rows], "summary": found, "machine": machine}
        given.json.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    if not any(row.seconds for row in rows):
        return 3
    return 0 if found["holds"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
