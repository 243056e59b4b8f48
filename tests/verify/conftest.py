"""One warm server per test process, and a small honest mechanism to break."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from verify.judge.judge import Judge
from verify.sandbox.client import Server


@pytest.fixture(scope="session")
def judge() -> Iterator[Judge]:
    with closing(Server()) as server:
        yield Judge(server)


@pytest.fixture(scope="session")
def honest() -> str:
    return (Path(__file__).parents[1] / "harness" / "mechanism" / "fading_attention.py").read_text()
