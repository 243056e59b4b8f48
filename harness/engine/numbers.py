"""The few measured numbers that an agent is told of a candidate which passed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def told_numbers(measured: Mapping[str, Any]) -> dict[str, float]:
    """Error over tolerance (the largest, per dtype), registers and spilled bytes (the most of any kernel and
    target), and the modelled time in microseconds (per device); what was not measured is left out.
    """
    told = {
        f"largest error / tolerance, {dtype}": max(map(float, errors.values()))
        for dtype, errors in sorted(measured.get("error_over_tolerance", {}).items())
        if errors
    }
    compiled = measured.get("compiler", ())
    for key, title in (("registers", "most registers"), ("spill_bytes", "most spilled bytes")):
        values = [float(row[key]) for row in compiled if isinstance(row.get(key), int | float)]
        if values:
            told[title] = max(values)
    for row in measured.get("throughput", ()):
        if isinstance(row.get("microseconds"), int | float):
            told[f"microseconds, {row.get('device')}, {_shape(row)}"] = float(row["microseconds"])
    return told


def _shape(row: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={size}" for name, size in sorted(row.get("shape", {}).items()))
