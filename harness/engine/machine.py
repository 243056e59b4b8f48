"""How many judge processes this machine can take, where nobody says."""

from __future__ import annotations

import math
import os
from pathlib import Path

from harness.engine.settings import ROUND_WIDTH

JUDGE_BYTES = 4 << 30
"""The most that one judge, its server and its workers were seen to hold at depth full is 3.4 GiB."""

_GROUP = Path("sys", "fs", "cgroup")


def judge_processes(root: Path = Path("/")) -> int:
    """One a core that this process may use, as far as memory allows, and no more than a round has proposals.

    At least 1. `root` is where `/proc` and `/sys` are.
    """
    room = min(_available(root), _allowed(root)) // JUDGE_BYTES
    return max(1, int(min(_cores(root), ROUND_WIDTH, room)))


def _cores(root: Path) -> float:
    """Cores that this process may use: affinity and a container's quota leave fewer than there are."""
    mine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = (root / _GROUP / "cpu.max").read_text().split()
        return min(mine, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):  # "max" is no number
        return mine


def _available(root: Path) -> float:
    """Bytes that can be had without swapping; infinite where the system does not say."""
    try:
        lines = (root / "proc" / "meminfo").read_text().splitlines()
    except OSError:
        return float("inf")
    found = [int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:")]
    return found[0] if found else float("inf")


def _allowed(root: Path) -> float:
    """Bytes that a container's limit leaves; infinite without one."""
    try:
        limit, used = ((root / _GROUP / name).read_text() for name in ("memory.max", "memory.current"))
        return max(0, int(limit) - int(used))
    except (OSError, ValueError):  # "max" is no number
        return float("inf")
