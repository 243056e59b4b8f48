"""What devices can do at most, from their makers' data sheets: the ground for a floor under times.

Peaks are theoretical maxima at the highest clock, so that nothing real is faster: FLOPs = multiprocessors x
dense bfloat16 FLOPs per clock (tensor cores) x maximal clock. An unknown device has no peak, and the
bandwidth that its driver reports, if it does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_HOPPER, _AMPERE = 4096, 2048
"""Dense bfloat16 FLOPs per multiprocessor and clock (NVIDIA's H100 and A100 white papers)."""


@dataclass(frozen=True, kw_only=True)
class DeviceFacts:
    """`dram_bytes` and `bfloat16_flops` are per second, `l2_bytes` a size; None where unknown."""

    name: str
    source: str
    dram_bytes: float | None
    bfloat16_flops: float | None
    l2_bytes: int | None


_KNOWN: tuple[tuple[str, str, float, float, int], ...] = (
    # pattern of the driver's name, what it is, DRAM bytes/s, bfloat16 FLOP/s, L2 bytes
    (r"\bH200 NVL", "H200 NVL", 4.8e12, 132 * _HOPPER * 1.98e9, 50 << 20),
    (r"\bH200", "H200 SXM", 4.8e12, 132 * _HOPPER * 1.98e9, 50 << 20),
    (r"\bH100 NVL", "H100 NVL", 3.94e12, 132 * _HOPPER * 1.98e9, 50 << 20),
    (r"\bH100 PCIe", "H100 PCIe", 2.04e12, 114 * _HOPPER * 1.98e9, 50 << 20),
    (r"\bH100", "H100 SXM", 3.36e12, 132 * _HOPPER * 1.98e9, 50 << 20),
    (r"\bA100.*80GB", "A100 80 GB", 2.04e12, 108 * _AMPERE * 1.41e9, 40 << 20),
    (r"\bA100", "A100 40 GB", 1.56e12, 108 * _AMPERE * 1.41e9, 40 << 20),
)
"""First match wins. Where variants share a name (SXM and PCIe of the A100), the faster one's numbers."""


def facts_of(described: Mapping[str, Any]) -> DeviceFacts:
    """Facts for a device as `verify.device.hardware.describe` gives it."""
    name = described["name"]
    for pattern, what, bandwidth, flops, l2 in _KNOWN:
        if re.search(pattern, name):
            return DeviceFacts(
                name=name,
                source=f"data sheet of {what}",
                dram_bytes=bandwidth,
                bfloat16_flops=flops,
                l2_bytes=max(l2, described["l2_bytes"] or 0),
            )
    hertz, bits = described["memory_hertz"], described["bus_bits"]
    dram = 2.0 * hertz * bits / 8.0 if hertz and bits else None  # two transfers a clock
    return DeviceFacts(
        name=name,
        source="the driver" if dram else "unknown device",
        dram_bytes=dram,
        bfloat16_flops=None,
        l2_bytes=described["l2_bytes"],
    )


def slug_of(name: str) -> str:
    """A device's name as a file name: "NVIDIA H100 80GB HBM3" -> "nvidia-h100-80gb-hbm3"."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "device"
