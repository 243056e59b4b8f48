"""Which Triton is installed, and whether this layer was written against it.

Looks at nothing but the version. Importing `private` with another one raises UnsupportedTriton before any
name inside of Triton is looked up.
"""

from __future__ import annotations

import re

import triton

from verify.errors import InfrastructureError

SUPPORTED: tuple[tuple[int, int], tuple[int, int]] = ((3, 6), (3, 9))


class UnsupportedTriton(InfrastructureError, ImportError):
    """The installed Triton is none that this layer knows from inside. Exit code 3."""


def parsed(text: str) -> tuple[int, int]:
    """(major, minor) of a version such as "3.7.1+git1a2b"; (0, 0) where it has no such numbers."""
    found = re.match(r"(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)


VERSION: tuple[int, int] = parsed(triton.__version__)


def supported(version: tuple[int, int]) -> bool:
    """Whether this layer was written against `version`."""
    return SUPPORTED[0] <= version <= SUPPORTED[1]


def refusal(version: tuple[int, int]) -> str:
    """What is said instead of a judgement."""
    low, high = (".".join(map(str, bound)) for bound in SUPPORTED)
    return (
        f"expected Triton {low} to {high}, got {'.'.join(map(str, version))}. Install one of these: this "
        "layer corrects what it knows, and judges nothing under a Triton that it does not know."
    )


if not supported(VERSION):
    raise UnsupportedTriton(refusal(VERSION))
