"""A judge, and a small honest mechanism to break."""

from __future__ import annotations

from pathlib import Path

import pytest

from verify.judge.judge import Judge
from verify.judge.verdict import Verdict
from verify.sandbox.client import Server


@pytest.fixture(scope="session")
def judge(server: Server) -> Judge:
    return Judge(server)


@pytest.fixture(scope="session")
def honest() -> str:
    return (Path(__file__).parents[1] / "harness" / "mechanism" / "fading_attention.py").read_text()


@pytest.fixture(scope="session")
def clean(judge: Judge, honest: str) -> Verdict:
    """The verdict on the honest mechanism."""
    return judge.check(honest.encode(), path="mechanism.py", depth="quick")
