"""What stops a command, told in one line and an exit code of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from harness.endings import TRACEBACK, guarded
from harness.errors import HarnessError, WrongUsage
from verify.exits import READER_LEFT

PRINTS = (
    "import sys\n"
    "from harness.endings import guarded, remarks_console, results_console\n"
    "def command():\n"
    "    out, err = results_console(), remarks_console()\n"
    "    for number in range(20000):\n"
    "        {}.print(number)\n"
    "    out.print('the end')\n"
    "    return 0\n"
    "sys.exit(guarded(command))\n"
)


def raising(error: BaseException) -> Callable[[], int]:
    def command() -> int:
        raise error

    return command


def run(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("error", "code"),
    [(HarnessError("no"), 3), (WrongUsage("no"), 2), (KeyboardInterrupt(), 130), (RecursionError("no"), 3)],
)
def test_whatever_stops_a_command_is_one_line_and_a_code(
    error: BaseException, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert guarded(raising(error)) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1


def test_a_defect_names_itself_and_its_line_and_is_told_whole_on_request(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(TRACEBACK, raising=False)
    assert guarded(raising(KeyError("gone"))) == 3
    line = capsys.readouterr().err
    assert "KeyError: 'gone' (test_endings.py:" in line
    assert "Traceback" not in line
    monkeypatch.setenv(TRACEBACK, "1")
    assert guarded(raising(KeyError("gone"))) == 3
    assert "Traceback" in capsys.readouterr().err


def test_what_an_error_quotes_cannot_steer_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(raising(HarnessError("the server said \x1b[2J\n\u202eadmitted [red]x[/]"))) == 3
    line = capsys.readouterr().err
    assert line == "error: the server said [2J admitted [red]x[/]\n"


def test_a_reader_that_leaves_ends_a_command_as_a_signal_would() -> None:
    program = PRINTS.format("out").replace("'", '"')
    found = run(f"{sys.executable} -c '{program}' | head -1; echo ${{PIPESTATUS[0]}}")
    assert found.stdout.splitlines() == ["0", str(READER_LEFT)]
    assert found.stderr == ""


def test_work_goes_on_where_nobody_reads_its_progress() -> None:
    program = PRINTS.format("err").replace("'", '"')
    found = run(f"{sys.executable} -c '{program}' 2> >(head -1 > /dev/null)")
    assert (found.returncode, found.stdout) == (0, "the end\n")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_under_stdout_is_one_line() -> None:
    program = PRINTS.format("out").replace("'", '"')
    found = run(f"{sys.executable} -c '{program}' > /dev/full")
    assert found.returncode == 3
    assert "No space left" in found.stderr
    assert len(found.stderr.splitlines()) == 1


def test_a_closed_stdout_is_no_defect() -> None:
    program = PRINTS.format("out").replace("'", '"')
    found = run(f"{sys.executable} -c '{program}' >&-")
    assert (found.returncode, found.stderr) == (0, "")
