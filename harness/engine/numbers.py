"""The few measured numbers that an agent is told of a candidate which passed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any


def told_numbers(measured: Mapping[str, Any]) -> dict[str, float]:
    """Error over tolerance (the largest, per dtype), registers and spilled bytes (the most of any kernel and
    target), and the modelled time in microseconds (per device); what was not measured is left out.
    """
    told = {
        f"largest error / tolerance, {dtype}": max(_finite(errors.values()), default=math.inf)
        for dtype, errors in sorted(measured.get("error_over_tolerance", {}).items())
    }
    compiled = measured.get("compiler", ())
    for key, title in (("registers", "most registers"), ("spill_bytes", "most spilled bytes")):
        values = list(_finite(row.get(key) for row in compiled))
        if values:
            told[title] = max(values)
    for row in measured.get("throughput", ()):
        if isinstance(row.get("microseconds"), int | float):
            told[f"microseconds, {row.get('device')}, {_shape(row)}"] = float(row["microseconds"])
    return told


def _finite(values: Iterable[Any]) -> list[float]:
    """The numbers among them; infinities are text in a run's store, and mean no more than that."""
    return [float(value) for value in values if isinstance(value, int | float) and math.isfinite(value)]


def _shape(row: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={size}" for name, size in sorted(row.get("shape", {}).items()))
