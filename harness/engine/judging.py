"""Opens the real judge, in a process of the pool. Apart from the pool, so that the pool's tests need no
torch.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from harness.engine.pool import REMEMBERED, Judge
from harness.engine.recorded_verdicts import Verdicts, read_verdicts, verdict_key
from verify.judge.cache import Checker
from verify.judge.verdict import Depth, Verdict


@contextlib.contextmanager
def open_judge(cache: Path | None = None, *, recorded: Path | None = None) -> Iterator[Judge]:
    """A judge with a warm sandbox server of its own, both closed on leaving.

    What was judged before is answered from the verdict cache in the folder `cache` (default: the user's), or
    from the file `recorded`; the server starts with the first source that neither knows.
    """
    with contextlib.ExitStack() as stack:
        yield _Remembering(stack, cache, {} if recorded is None else read_verdicts(recorded))


@contextlib.contextmanager
def open_fresh_judge() -> Iterator[Judge]:
    """A judge that remembers nothing."""
    with contextlib.ExitStack() as stack:
        yield _metered(stack)


def _metered(stack: contextlib.ExitStack) -> _Metered:
    from verify.judge.judge import Judge as SandboxedJudge  # noqa: PLC0415  loaded where it runs
    from verify.sandbox.client import Server  # noqa: PLC0415  as above

    server = stack.enter_context(Server())
    return _Metered(SandboxedJudge(server), server.pid)


class _Remembering:
    """A judge that marks what it did not have to judge."""

    def __init__(self, stack: contextlib.ExitStack, cache: Path | None, recorded: Verdicts) -> None:
        from verify.judge.cache import CachingJudge, VerdictCache  # noqa: PLC0415  loaded where it runs

        self._stack, self._recorded = stack, recorded
        self._fresh: _Metered | None = None
        self._caching = CachingJudge(self._open, VerdictCache(cache))

    def check(self, source: bytes, *, path: str, depth: Depth) -> Verdict:
        known = self._recorded.get(verdict_key(source, depth))
        if known is None:
            before = 0 if self._fresh is None else self._fresh.checked
            known = self._caching.check(source, path=path, depth=depth)
            if self._fresh is not None and self._fresh.checked > before:
                return known
        return replace(known, measured={**known.measured, REMEMBERED: True})

    def _open(self) -> Checker:
        self._fresh = _metered(self._stack)
        return self._fresh


class _Metered:
    """A judge whose verdicts say what they cost: CPU seconds of this process, the server and its finished
    workers.
    """

    def __init__(self, judge: Checker, server_pid: int) -> None:
        self._judge = judge
        self._server_pid = server_pid
        self.checked = 0

    def check(self, source: bytes, *, path: str, depth: Depth, root_seed: int = 0) -> Verdict:
        before = _cpu_seconds(self._server_pid)
        verdict = self._judge.check(source, path=path, depth=depth, root_seed=root_seed)
        self.checked += 1
        spent = round(_cpu_seconds(self._server_pid) - before, 3)
        return replace(verdict, measured={**verdict.measured, "cpu_seconds": spent})


def _cpu_seconds(server_pid: int) -> float:
    """User and system time of this process and of the server with the children it has waited for."""
    own = os.times()
    fields = Path(f"/proc/{server_pid}/stat").read_text().rpartition(")")[2].split()
    ticks = sum(int(field) for field in fields[11:15])  # utime, stime, cutime, cstime of proc(5)
    return own.user + own.system + ticks / os.sysconf("SC_CLK_TCK")
