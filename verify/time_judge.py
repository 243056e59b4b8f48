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
        for depth in ("static", "quick", "full"):
            times = []
            for _ in range(repeat):
                elapsed, codes[depth] = _check(file, depth, environment, use_cache=False)
                times.append(elapsed)
            seconds[depth] = statistics.median(times)
        _check(file, "quick", environment, use_cache=True)
        seconds["unchanged"], codes["unchanged"] = _check(file, "quick", environment, use_cache=True)
        stages = _stage_seconds(file, environment)
    return {"file": str(file), "seconds": seconds, "exit_codes": codes, "stages": stages}


def _check(file: Path, depth: str, environment: dict[str, str], *, use_cache: bool) -> tuple[float, int]:
    command = [
        sys.executable,
        "-m",
        "verify",
        "check",
        str(file),
        "--depth",
        depth,
        "--cache" if use_cache else "--no-cache",
    ]
    began = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, check=False)  # noqa: S603 - our own module
    return time.perf_counter() - began, done.returncode


def _stage_seconds(file: Path, environment: dict[str, str]) -> dict[str, float]:
    """Seconds per stage of one full run, from the judge's own record."""
    command = [sys.executable, "-c", _STAGES, str(file)]
    done = subprocess.run(command, env=environment, capture_output=True, check=True, text=True)  # noqa: S603
    return dict(json.loads(done.stdout))


_STAGES = """
import json, sys
from contextlib import closing
from pathlib import Path
from verify.judge.judge import Judge
from verify.sandbox.client import Server
with closing(Server()) as server:
    verdict = Judge(server).check(Path(sys.argv[1]).read_bytes(), path=sys.argv[1], depth="full")
print(json.dumps(verdict.measured["seconds"]))
"""


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
