"""How long a verdict takes: whole `check` processes per depth, and the seconds of each stage inside.

The limits are promises of the tool (static 1 s, quick 8 s, full 60 s, unchanged 0.5 s); a median above its
limit fails the command.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

LIMITS = {"static": 1.0, "quick": 8.0, "full": 60.0, "unchanged": 0.5}


def time_judge(files: Sequence[Path], *, repeat: int) -> tuple[dict[str, Any], list[str]]:
    """Time every file at every depth. Returns the JSON document and a table."""
    rows = []
    for file in files:
        print(f"timing {file}", file=sys.stderr)
        rows.append(_time_file(file, repeat))
    medians = (
        {depth: statistics.median(row["seconds"][depth] for row in rows) for depth in LIMITS} if rows else {}
    )
    over = {depth: median for depth, median in medians.items() if median > LIMITS[depth]}
    summary = f"median seconds over {len(rows)} files: " + ", ".join(
        f"{depth} {median:.2f} (limit {LIMITS[depth]:g})" for depth, median in medians.items()
    )
    document = {
        "holds": bool(rows) and not over,
        "limits": LIMITS,
        "medians": medians,
        "rows": rows,
        "summary": summary,
        "machine": {
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "processor": platform.machine(),
        },
    }
    return document, _table(rows)


def _time_file(file: Path, repeat: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "XDG_CACHE_HOME": cache}
        seconds: dict[str, float] = {}
        codes: dict[str, int] = {}
        stages: dict[str, float] = {}
        for depth in ("static", "quick", "full"):
            times = []
            for _ in range(repeat):
                elapsed, codes[depth], stages = _check(file, depth, environment, use_cache=False)
                times.append(elapsed)
            seconds[depth] = statistics.median(times)
        _check(file, "quick", environment, use_cache=True)
        seconds["unchanged"], codes["unchanged"], _ = _check(file, "quick", environment, use_cache=True)
    return {"file": _shown(file), "seconds": seconds, "exit_codes": codes, "stages": stages}


def _shown(file: Path) -> str:
    """The path as it is given from here, so that the document does not name the machine's folders."""
    return str(file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file)


def _check(
    file: Path, depth: str, environment: dict[str, str], *, use_cache: bool
) -> tuple[float, int, dict[str, float]]:
    """Wall seconds, exit code, and the seconds of each stage as the judge says them, of one process."""
    command = [
        *(sys.executable, "-m", "verify", "check", str(file)),
        *("--depth", depth, "--cache" if use_cache else "--no-cache", "--json", "--seconds"),
    ]
    began = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, check=False)  # noqa: S603 - our own module
    elapsed = time.perf_counter() - began
    (said,) = json.loads(done.stdout)["verdicts"]
    return elapsed, done.returncode, said["seconds"]


def _table(rows: Sequence[dict[str, Any]]) -> list[str]:
    lines = [f"{'file':48} " + " ".join(f"{depth:>10}" for depth in LIMITS)]
    lines += [
        f"{row['file'][-48:]:48} " + " ".join(f"{row['seconds'][depth]:9.2f}s" for depth in LIMITS)
        for row in rows
    ]
    lines += ["", "seconds per stage, one full run:"]
    for row in rows:
        parts = ", ".join(f"{stage} {seconds:.2f}" for stage, seconds in row["stages"].items())
        lines.append(f"  {row['file']}: {parts}")
    return lines
