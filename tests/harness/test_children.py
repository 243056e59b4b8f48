from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ENDING = """
import atexit, os, time
from harness.children import serving

def last():
    print("leaving", flush=True)
    time.sleep(0.2)

atexit.register(last)
with serving(os.getppid()):
    {body}
"""


@pytest.mark.parametrize("body", ["pass", "os.kill(os.getpid(), 15)"], ids=["finished", "told to"])
def test_a_child_at_its_end_is_not_interrupted_and_says_nothing(body: str) -> None:
    command = [sys.executable, "-c", ENDING.format(body=body)]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "leaving\n"
        child.send_signal(signal.SIGTERM)
        _, said = child.communicate(timeout=20.0)
    assert said == ""
    assert child.returncode == 0
