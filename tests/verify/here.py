"""The command line in this process, with a server that is warm already: what starts one takes seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from verify.cli import app
from verify.sandbox.client import Server


class Lent:
    """A server that outlives those who borrow it."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def __getattr__(self, name: str) -> Any:
        return getattr(self._server, name)

    def close(self) -> None:
        """Its owner does that."""


def run_here(server: Server, *arguments: str, cache: Path | None = None) -> Result:
    """What the command answers, without a cache of verdicts unless one is given."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(cache or "/nonexistent"))
        for name in ("verify.judge.replay.Server", "verify.sandbox.client.Server"):
            patch.setattr(name, lambda: Lent(server))
        return CliRunner().invoke(app, arguments)
