"""The time that a launch cannot be under, from what it was counted to do and a device's rates.

A model, not a measurement, and calibrated against nothing. Every pipe (tensor cores, float32 units, special
functions, L2, DRAM) needs some time for its share; they are taken to overlap perfectly, so the slowest alone
bounds the launch. What the model leaves out (latency, barriers, occupancy, launching) only takes longer. Two
things it takes for granted: that a launch begins with a cold L2, and that what a program loads twice comes
from L2 once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from verify.device.sheets import DeviceSheet
from verify.triton_cpu.counting.counts import SECTOR_BYTES, Counts, LaunchCounts

PIPES = ("tensor", "fp32", "special", "L2", "DRAM")
LABEL = "predicted lower bound: a model, not a measurement; not calibrated"


@dataclass(frozen=True, kw_only=True)
class LaunchBound:
    """`seconds` that each pipe needs at least for one launch; `bound_by` is the slowest pipe."""

    launch: LaunchCounts
    seconds: Mapping[str, float]

    @property
    def bound_by(self) -> str:
        return max(PIPES, key=lambda pipe: self.seconds[pipe])

    @property
    def total(self) -> float:
        """Seconds that the launch takes at least."""
        return self.seconds[self.bound_by]

    def to_json(self) -> dict[str, Any]:
        return {
            **self.launch.to_json(),
            "intensity": self.launch.counts.intensity,
            "microseconds_by_pipe": {pipe: self.seconds[pipe] * 1e6 for pipe in PIPES},
            "bound_by": self.bound_by,
            "microseconds": self.total * 1e6,
        }


def bound_of(launch: LaunchCounts, sheet: DeviceSheet) -> LaunchBound:
    """Bounds of one launch on a device.

    Units that every multiprocessor has of its own are also bounded by the longest program, which one of them
    runs alone, and by the last wave: with 133 equal programs on 132 multiprocessors one runs two.
    """
    counts = launch.counts
    seconds = {
        "L2": SECTOR_BYTES * (counts.fetched_sectors + counts.flushed_sectors) / sheet.l2_bytes,
        "DRAM": counts.unique_bytes / sheet.dram_bytes,
    }
    waves = math.ceil(launch.size / sheet.multiprocessors)
    programs = [_clocks(program.counts, sheet) for program in launch.programs]
    for pipe, clocks in _clocks(counts, sheet).items():
        each = [program[pipe] for program in programs]
        least = [clocks / sheet.multiprocessors]
        if each:
            least += [max(each), waves * min(each)]
        seconds[pipe] = max(least) / sheet.hertz
    return LaunchBound(launch=launch, seconds=seconds)


def _clocks(counts: Counts, sheet: DeviceSheet) -> dict[str, float]:
    """Clocks of one multiprocessor that each of its pipes needs for all of this."""
    clocks = {"tensor": 0.0, "fp32": counts.fp32_flops / sheet.vector}
    for operand, flops in counts.dot_flops.items():
        pipe, rate = sheet.dot_rate(operand)
        clocks[pipe] += flops / rate
    return {**clocks, "special": counts.special_ops / sheet.special}


def bounds_of(launches: Sequence[LaunchCounts], sheet: DeviceSheet) -> list[LaunchBound]:
    """Bounds of launches that run one after another."""
    return [bound_of(launch, sheet) for launch in launches]


def total_seconds(bounds: Sequence[LaunchBound]) -> float:
    """What the launches take at least, one after another."""
    return math.fsum(bound.total for bound in bounds)
