from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.locks import exclusive

ROOT = Path(__file__).resolve().parents[2]
HOLD = (
    "import sys, time\nfrom pathlib import Path\nfrom harness.locks import exclusive\n"
    "with exclusive(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)\n"
)


def test_a_second_process_is_turned_away_and_a_killed_one_lets_go(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline().strip() == "held"
        with pytest.raises(HarnessError, match="another run is using it"), exclusive(tmp_path):
            pass
    finally:
        holder.kill()
        holder.wait()
    with exclusive(tmp_path):
        pass


WAIT = (
    "import sys\nfrom pathlib import Path\nfrom harness.locks import exclusive\n"
    "with exclusive(Path(sys.argv[1]), waiting=lambda: print('waits', flush=True)):\n    print('held')\n"
)


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_second_process_that_may_wait_says_so_and_waits_until_it_is_let_or_interrupted(
    tmp_path: Path, interrupted: bool
) -> None:
    command = [sys.executable, "-c", WAIT, str(tmp_path)]
    with exclusive(tmp_path):
        waiter = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert waiter.stdout is not None
        assert waiter.stdout.readline() == "waits\n"
        with pytest.raises(subprocess.TimeoutExpired):
            waiter.wait(0.3)
        if interrupted:
            waiter.send_signal(signal.SIGINT)
            waiter.wait(10)
    stdout, stderr = waiter.communicate(timeout=10)
    assert stdout == ("" if interrupted else "held\n")
    assert stderr.strip().endswith("KeyboardInterrupt" if interrupted else "")


def test_the_folder_is_made_and_nothing_is_left_in_it(tmp_path: Path) -> None:
    with exclusive(tmp_path / "a" / "b"):
        assert list((tmp_path / "a" / "b").iterdir()) == []


def test_a_file_in_the_way_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(HarnessError, match="cannot be used as a folder"), exclusive(tmp_path / "out"):
        pass


def test_a_folder_that_nobody_may_make_is_found_out_at_once() -> None:
    out = Path("/proc/self/out")  # read-only for root too
    with pytest.raises(HarnessError, match="cannot be"), exclusive(out):
        pass


def test_a_folder_that_takes_no_bytes_is_found_out_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(HarnessError, match="No space left on device"), exclusive(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []
