from __future__ import annotations

import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from harness.compose.proxies.cache import ResultCache
from harness.compose.proxies.request import CurvePoint, ProxyResult
from harness.errors import HarnessError
from tests.harness.compose.proxies.requests import CANDIDATES, request

RESULT = ProxyResult(
    score=1 / 3,
    loss=0.1,
    steps=5,
    diverged=False,
    curve=(CurvePoint(step=5, loss=0.1, score=1 / 3),),
    cpu_seconds=2.5,
)


def test_an_answer_comes_back_equal_and_only_to_its_own_question(tmp_path: Path) -> None:
    with ResultCache(tmp_path / "sub" / "cache.sqlite") as cache:
        assert cache.get(request()) is None
        cache.put(request(), RESULT)
        assert cache.get(request()) == RESULT
        assert cache.get(request(seed=1)) is None
        assert cache.get(request(split="final")) is None
    with ResultCache(tmp_path / "sub" / "cache.sqlite") as cache:
        assert (len(cache), cache.get(request())) == (1, RESULT)


def test_the_first_answer_stays(tmp_path: Path) -> None:
    with ResultCache(tmp_path / "cache.sqlite") as cache:
        cache.put(request(), RESULT)
        cache.put(request(), replace(RESULT, score=0.9))
        assert cache.get(request()) == RESULT


def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from harness.compose.proxies.cache import ResultCache\n"
        "from harness.compose.proxies.request import ProxyRequest, ProxyResult\n"
        "def asked(seed): return ProxyRequest(\n"
        "    tokens=('M',), identities={}, task='t', preset='p', seed=seed, steps=1)\n"
        "result = ProxyResult(score=1, loss=0, steps=1, diverged=False, curve=(), cpu_seconds=0)\n"
        "with ResultCache(Path(sys.argv[1])) as cache:\n"
        "    for seed in range(40):\n"
        "        cache.put(asked(seed + 20 * int(sys.argv[2])), result)\n"
    )
    path = tmp_path / "cache.sqlite"
    root = CANDIDATES.parent
    started = [
        subprocess.Popen([sys.executable, "-c", program, str(path), str(i)], cwd=root) for i in range(2)
    ]
    assert [process.wait() for process in started] == [0, 0]
    with ResultCache(path) as cache:
        assert len(cache) == 60


@pytest.mark.parametrize(
    "content", [b"no database at all, but text" * 40, b"SQLite format 3\0" + b"\1" * 600]
)
def test_a_file_that_is_no_cache_is_named_with_what_to_do(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "cache.sqlite"
    path.write_bytes(content)
    with pytest.raises(HarnessError, match=r"cache\.sqlite: expected a cache .* Move the file away"):
        ResultCache(path)


def test_a_damaged_entry_is_an_error_and_no_answer(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    with ResultCache(path) as cache:
        cache.put(request(), RESULT)
    with sqlite3.connect(path) as database:
        database.execute("UPDATE results SET body = '{}'")
    with ResultCache(path) as cache, pytest.raises(HarnessError, match="Move the file away"):
        cache.get(request())


def test_a_cache_of_another_layout_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(HarnessError, match="layout 1, got 99"):
        ResultCache(path)
