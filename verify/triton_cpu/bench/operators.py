"""Operators of published libraries as tapes: run once through the torch host, each launch written down."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

OPERATORS: tuple[str, ...] = ()


class NotInstalled(Exception):
    """The library of an operator, or the host that runs it, is not there."""


def record_operator(name: str, shape: Mapping[str, int], dtype: str, folder: Path) -> None:
    """Nothing yet."""
    raise NotInstalled(name)
