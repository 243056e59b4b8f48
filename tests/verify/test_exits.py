from __future__ import annotations

import subprocess
import sys

from verify.exits import READER_LEFT


def test_a_reader_that_leaves_says_nothing_of_a_mechanism() -> None:
    program = (
        "import typer\n"
        "from verify.exits import guarded\n"
        "def command() -> None:\n"
        "    for number in range(20000):\n"
        "        print(number)\n"
        "typer.run(guarded(command))\n"
    )
    script = f"{sys.executable} -c '{program}' | head -1; echo ${{PIPESTATUS[0]}}"
    found = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert found.stdout.splitlines() == ["0", str(READER_LEFT)]
    assert found.stderr == ""
