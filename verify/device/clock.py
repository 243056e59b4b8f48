"""How long one run takes on a device: our own clock, over batches, checked by a second one.

A batch of `few` runs and one of `many` are timed on the host, from idle to idle; the difference, divided by
the runs between them, is free of what a batch costs once (launching the first kernel, synchronising). The
device's own events time the same two batches; a host that sees less or more than they do is measuring
something else, and the measurement is refused. Before each batch a buffer larger than the L2 cache is
written, and `run` takes fresh inputs each time. No torch here: a device is four methods.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

AGREEMENT = 0.05
"""Largest difference between host and device clock, relative to the larger of the two medians."""

RESOLUTION = 2e-6
"""Seconds within which both clocks count as equal (CUDA events resolve half a microsecond, a batch has
two).
"""

CONFIDENCE = 0.95
"""Of the interval around a median."""


class Device(Protocol):
    """What the clock needs of a device; times in seconds."""

    def now(self) -> float:
        """The host's monotonic clock."""

    def synchronize(self) -> None:
        """Return when the device is idle."""

    def mark(self) -> Any:
        """Have the device take the time between what was and what will be submitted."""

    def elapsed(self, start: Any, end: Any) -> float:
        """Between two marks, once the device is idle."""

    def flush(self) -> None:
        """Submit a write that leaves nothing of what was used before in the caches."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Seconds of one run as one repetition shows them, by host and by device."""

    host: float
    device: float


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Seconds of one run over all repetitions: median and interval by the host, median by the device.

    `problem` says why the numbers are refused, None where they hold.
    """

    median: float
    low: float
    high: float
    device: float
    repetitions: int
    problem: str | None


def read(device: Device, run: Callable[[], object], *, few: int, many: int) -> Reading:
    """One repetition: a batch of `few` runs, then one of `many`. Raises ValueError unless 0 < few < many."""
    if not 0 < few < many:
        raise ValueError(f"expected 0 < few < many, got {few} and {many}")
    host, marked = [], []
    for count in (few, many):
        device.flush()
        device.synchronize()
        began, start = device.now(), device.mark()
        for _ in range(count):
            run()
        end = device.mark()
        device.synchronize()
        host.append(device.now() - began)
        marked.append(device.elapsed(start, end))
    return Reading(host=(host[1] - host[0]) / (many - few), device=(marked[1] - marked[0]) / (many - few))


def batches(seconds: float, *, target: float) -> tuple[int, int]:
    """(few, many) so that the difference between the batches takes about `target` seconds."""
    runs = min(500, max(2, math.ceil(target / max(seconds, 1e-9))))
    few = max(1, runs // 10)
    return few, few + runs


def summarise(readings: Sequence[Reading]) -> Timing:
    """Median, interval, and whether both clocks tell the same. Raises ValueError without readings."""
    if not readings:
        raise ValueError("expected at least one reading, got none")
    host, device = [reading.host for reading in readings], [reading.device for reading in readings]
    median, marked = statistics.median(host), statistics.median(device)
    low, high = median_interval(host)
    return Timing(
        median=median,
        low=low,
        high=high,
        device=marked,
        repetitions=len(readings),
        problem=_problem(median, marked),
    )


def _problem(host: float, device: float) -> str | None:
    if host <= 0.0 or device <= 0.0:
        return f"a run takes {host * 1e6:.3g} us by the host and {device * 1e6:.3g} us by the device"
    if abs(host - device) > AGREEMENT * max(host, device) + RESOLUTION:
        return (
            f"the clocks disagree: {host * 1e6:.3g} us by the host, {device * 1e6:.3g} us by the device, "
            f"expected a difference of at most {AGREEMENT:.0%}"
        )
    return None


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """An interval that holds the true median with CONFIDENCE, whatever the distribution: two order
    statistics.

    The number of values below the median is binomial with p = 1/2; with fewer than six values no two of
    them reach the confidence, and the smallest and the largest are given.
    """
    ordered, count = sorted(values), len(values)
    tail, rank = 0.0, 0
    while rank < count // 2:
        tail += math.comb(count, rank) / 2.0**count
        if tail > (1.0 - CONFIDENCE) / 2.0:
            break
        rank += 1
    first = max(0, rank - 1)
    return ordered[first], ordered[count - 1 - first]
