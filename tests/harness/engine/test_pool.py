from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from harness.engine import pool as pool_module
from harness.engine.pool import JudgePool, JudgeTask
from harness.errors import HarnessError
from tests.harness.engine.fake_judge import open_counting, open_failing, open_fake, open_never, open_slow

ROOT = Path(__file__).resolve().parents[3]


def tasks(*texts: str) -> list[JudgeTask]:
    return [
        JudgeTask(position=n, path=f"{n}.py", source=text.encode(), depth="quick")
        for n, text in enumerate(texts)
    ]


@pytest.mark.parametrize("workers", [1, 2])
def test_every_task_is_answered_once_whatever_the_number_of_workers(workers: int) -> None:
    with JudgePool(open_fake, workers=workers) as pool:
        answers = {task.position: judged for task, judged in pool.judge(tasks("a", "wrong", "b", "c", "d"))}
    assert sorted(answers) == [0, 1, 2, 3, 4]
    assert [answers[n].verdict.admission for n in range(3)] == ["incomplete", "rejected", "incomplete"]
    assert answers[0].cpu_seconds == 0.25


@pytest.mark.parametrize("workers", [1, 2])
def test_what_was_begun_is_answered_once(workers: int) -> None:
    with JudgePool(open_fake, workers=workers) as pool:
        for _ in range(2):
            wave = tasks("a", "wrong", "b", "c", "d")
            for task in wave[:3]:
                pool.begin(task)
            answered = [task.position for task, _ in pool.judge(wave)]
            assert sorted(answered) == [task.position for task in wave]


def test_processes_stay_warm_between_waves(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with JudgePool(partial(open_counting, log), workers=1) as pool:
        list(pool.judge(tasks("a")))
        list(pool.judge(tasks("b", "c")))
    assert len({line.split()[0] for line in log.read_text().splitlines()}) == 1


def test_no_tasks_start_no_process() -> None:
    with JudgePool(open_never, workers=2) as pool:
        assert list(pool.judge([])) == []


@pytest.mark.parametrize("how", ["once exit", "once raise"])
def test_a_judge_that_fails_once_is_replaced(tmp_path: Path, how: str) -> None:
    with JudgePool(partial(open_failing, tmp_path / "marker", how), workers=1) as pool:
        answers = [task.position for task, _ in pool.judge(tasks("a", "stumble", "b"))]
    assert sorted(answers) == [0, 1, 2]


@pytest.mark.parametrize(
    ("how", "said"), [("always exit", "exit code 7"), ("always raise", "the sandbox is gone")]
)
def test_a_task_that_fails_twice_stops_after_the_others(tmp_path: Path, how: str, said: str) -> None:
    done: list[int] = []
    with (
        JudgePool(partial(open_failing, tmp_path / "marker", how), workers=2) as pool,
        pytest.raises(HarnessError, match=said),
    ):
        for task, _ in pool.judge(tasks("stumble", "a", "b")):
            done.append(task.position)
    assert sorted(done) == [1, 2]


def test_a_judge_that_cannot_be_opened_says_why_in_one_line() -> None:
    with (
        JudgePool(open_never, workers=1) as pool,
        pytest.raises(HarnessError, match="full isolation") as caught,
    ):
        list(pool.judge(tasks("a")))
    assert "\n" not in str(caught.value)


def test_a_judge_that_is_silent_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "TASK_SECONDS", 0.4)
    with (
        JudgePool(partial(open_slow, 30.0), workers=1) as pool,
        pytest.raises(HarnessError, match="no answer within"),
    ):
        list(pool.judge(tasks("a")))


def test_no_process_outlives_a_killed_parent(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom functools import partial\nfrom pathlib import Path\n"
        "from harness.engine.pool import JudgePool, JudgeTask, _Worker\n"
        "from tests.harness.engine.fake_judge import open_slow\n"
        "if __name__ == '__main__':\n"
        "    with JudgePool(partial(open_slow, 60.0), workers=1) as pool:\n"
        "        pool._workers.append(_Worker(pool._factory))\n"
        "        print(pool._workers[0]._process.pid, flush=True)\n"
        "        list(pool.judge([JudgeTask(position=0, path='a', source=b'a', depth='quick')]))\n"
    )
    script = tmp_path / "parent.py"
    script.write_text(program)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen(
        [sys.executable, str(script)], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    time.sleep(1.0)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    deadline = time.monotonic() + 10.0
    while is_running(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(child)


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
