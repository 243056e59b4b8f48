"""Every random choice comes from one root seed through `derive`; there is no global generator."""

from __future__ import annotations

import hashlib


def derive(seed: int, *labels: str | int) -> int:
    """A child seed in [0, 2**64) that depends on every label and on their boundaries.

    SHA-256 over length-prefixed fields, so ("ab", "c") and ("a", "bc") give different seeds.
    """
    digest = hashlib.sha256()
    for field in (str(int(seed)), *(f"{type(label).__name__}:{label}" for label in labels)):
        data = field.encode()
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return int.from_bytes(digest.digest()[:8], "little")
