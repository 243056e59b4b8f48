"""Role `timing` of the device that is not there."""

from __future__ import annotations

from tests.verify.device.stand_in import timing as open

__all__ = ["open"]
