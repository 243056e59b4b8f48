"""What holds for processes of this machine alone."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.compose.engines.local import LocalEngine
from tests.harness.compose.evaluations import evaluate, evaluate_slowly, request

ROOT = Path(__file__).resolve().parents[4]

PROGRAM = """
import sys
from harness.compose.engines.local import LocalEngine
from tests.harness.compose.evaluations import evaluate_endlessly, request

with LocalEngine(evaluate_endlessly, workers=2) as engine:
    list(engine.run([request(seed=seed, task=sys.argv[1]) for seed in range(3)]))
"""


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20.0
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("kill", "code"),
    [(signal.SIGINT, -signal.SIGINT), (signal.SIGKILL, -signal.SIGKILL)],
    ids=["ctrl-c", "kill"],
)
def test_no_worker_outlives_the_process_it_works_for(tmp_path: Path, kill: int, code: int) -> None:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE) as process:
        wait_until(lambda: len(list(tmp_path.iterdir())) == 2)
        workers = [int(path.name) for path in tmp_path.iterdir()]
        assert all(is_running(worker) for worker in workers)
        process.send_signal(kill)
        process.communicate(timeout=20.0)
    assert process.returncode == code
    wait_until(lambda: not any(is_running(worker) for worker in workers))


def test_an_iteration_that_is_left_early_leaves_no_answer_behind() -> None:
    with LocalEngine(evaluate_slowly, workers=2) as engine:
        for _ in engine.completed([request("mA", seed=seed) for seed in range(4)]):
            break
        later = [request("M", "mA", seed=9), request("mA", "mA", seed=9)]
        assert list(engine.run(later)) == [evaluate(one) for one in later]


def test_workers_are_kept_between_runs() -> None:
    with LocalEngine(evaluate, workers=1) as engine:
        list(engine.run([request()]))
        before = engine._workers[0]._process.pid
        list(engine.run([request("mA")]))
        assert [worker._process.pid for worker in engine._workers] == [before]
