"""Role `baseline` without a device: the eager definition on the CPU, confined like the oracle.

It exists so that the clock and everything around it run where there is no GPU; its times say nothing about a
mechanism's kernels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from verify.device.hardware import describe
from verify.device.timed import TimedHandler
from verify.roles.baseline import makers


class Handler:
    """As `TimedHandler`, and `describe`."""

    def __init__(self, source: bytes) -> None:
        self._timed = TimedHandler("cpu", {"eager": makers(source)["eager"]})

    def handle(
        self, method: str, header: Mapping[str, Any], blobs: Sequence[bytes | memoryview]
    ) -> tuple[dict[str, Any], list[bytes]]:
        if method == "describe":
            return describe("cpu"), []
        return self._timed.handle(method, header, blobs)


def open(source: bytes) -> Handler:
    return Handler(source)
