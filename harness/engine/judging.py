"""Opens the real judge, in a process of the pool. Apart from the pool, so that the pool's tests need no
torch.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from harness.engine.pool import Judge
from verify.judge.verdict import Depth, Verdict


@contextlib.contextmanager
def open_judge() -> Iterator[Judge]:
    """A judge with a warm sandbox server of its own, both closed on leaving."""
    from verify.judge.judge import Judge as SandboxedJudge  # noqa: PLC0415  loaded where it runs
    from verify.sandbox.client import Server  # noqa: PLC0415  as above

    with Server() as server:
        yield _Metered(SandboxedJudge(server), server.pid)


class _Metered:
    """A judge whose verdicts say what they cost: CPU seconds of this process, the server and its finished
    workers.
    """

    def __init__(self, judge: Judge, server_pid: int) -> None:
        self._judge = judge
        self._server_pid = server_pid

    def check(self, source: bytes, *, path: str, depth: Depth) -> Verdict:
        before = _cpu_seconds(self._server_pid)
        verdict = self._judge.check(source, path=path, depth=depth)
        spent = round(_cpu_seconds(self._server_pid) - before, 3)
        return replace(verdict, measured={**verdict.measured, "cpu_seconds": spent})


def _cpu_seconds(server_pid: int) -> float:
    """User and system time of this process and of the server with the children it has waited for."""
    own = os.times()
    fields = Path(f"/proc/{server_pid}/stat").read_text().rpartition(")")[2].split()
    ticks = sum(int(field) for field in fields[11:15])  # utime, stime, cutime, cstime of proc(5)
    return own.user + own.system + ticks / os.sysconf("SC_CLK_TCK")
