"""Role `timing` of the device that is not there."""

from __future__ import annotations

from tests.verify.device.stand_in import timing
from verify.device.timed import TimedHandler


def open(source: bytes) -> TimedHandler:
    return timing(source)
