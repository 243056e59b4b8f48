from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli import app

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = (
    "import sys\nimport harness.commands.design as design\nfrom functools import partial\n"
    "from tests.harness.engine.fake_judge import open_fake, open_slow\n"
    "if __name__ == '__main__':\n"
    "    seconds = float(sys.argv.pop(1))\n"
    "    design.run = partial(design.run, judges=partial(open_slow, seconds) if seconds else open_fake)\n"
    "    from harness.cli import main\n    main()\n"
)


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """The command line with a judge that needs no sandbox; its first argument is how slow that judge is."""
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return path


def command(program: Path, *arguments: str, seconds: float = 0.0) -> list[str]:
    return [sys.executable, str(program), str(seconds), "design", *arguments]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", "COLUMNS": "120"}


def call(program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(program, *arguments),
        cwd=program.parent,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_run_prints_results_on_stdout_and_progress_on_stderr(program: Path) -> None:
    done = call(program, "--budget", "3", "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert "proposed #1" in done.stderr
    assert "proposed #1" not in done.stdout
    assert "Next: review the folders" in done.stdout.rstrip("\n").splitlines()[-1]
    assert list((program.parent / "candidates" / "linear_state").glob("*/mechanism.py"))
    assert len(list((program.parent / "runs").glob("design-all-s0-*/run.sqlite"))) == 1


def test_json_is_one_document_and_output_writes_the_same(program: Path) -> None:
    done = call(
        program, "--budget", "2", "--depth", "quick", "--json", "--output", "result.json", "--workers", "1"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ledger"]["attempted"] == 2
    assert (program.parent / "result.json").read_text() == done.stdout


def test_an_unknown_family_is_a_usage_error_that_names_the_nearest(program: Path) -> None:
    done = call(program, "--family", "linear_stat")
    assert done.returncode == 2
    assert "Did you mean 'linear_state'?" in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


@pytest.mark.parametrize("arguments", [["--budget", "0"], ["--depth", "deep"], ["--nonsense"]])
def test_wrong_usage_is_exit_code_2(program: Path, arguments: list[str]) -> None:
    assert call(program, *arguments).returncode == 2


def test_a_file_where_the_folder_should_be_is_exit_code_3_in_one_line(program: Path) -> None:
    (program.parent / "taken").write_text("")
    done = call(program, "--out", "taken")
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1].startswith("error: taken: ")
    assert "Traceback" not in done.stderr


def test_ctrl_c_is_130_and_the_same_command_goes_on(program: Path) -> None:
    arguments = ["--budget", "4", "--workers", "1", "--depth", "quick"]
    search = subprocess.Popen(
        command(program, *arguments, seconds=0.3),
        cwd=program.parent,
        env=environment(),
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert search.stderr is not None
    for line in search.stderr:
        if line.startswith("quick"):
            break
    os.killpg(search.pid, signal.SIGINT)
    _, rest = search.communicate(timeout=30)
    assert search.returncode == 130, rest
    assert "Run the same command again to go on." in rest
    assert "Traceback" not in rest
    done = call(program, *arguments)
    assert done.returncode == 0
    assert "going on with" in done.stderr
    assert "passed the quick depth, none was judged in full." in done.stdout


def test_a_second_run_in_the_same_folder_is_exit_code_3(program: Path) -> None:
    arguments = ["--budget", "4", "--workers", "1"]
    first = subprocess.Popen(
        command(program, *arguments, seconds=5.0),
        cwd=program.parent,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert first.stderr is not None
        assert first.stderr.readline().startswith("proposed")
        second = call(program, *arguments)
    finally:
        first.terminate()
        first.communicate()
    assert second.returncode == 3
    assert "another run is using it" in second.stderr
    assert second.stderr.count("\n") == 1


def test_help_needs_no_judge() -> None:
    program = "import sys\nfrom harness.cli import app\napp(['design', '--help'], standalone_mode=False)\n"
    program += "assert {'torch', 'triton', 'numpy', 'verify.judge.judge'}.isdisjoint(sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_an_agent_without_its_key_is_a_usage_error_in_one_line(
    program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    done = call(program, "--family", "softmax_attention", "--agent", "openai", "--model", "m")
    assert done.returncode == 2
    assert "OPENAI_API_KEY" in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["runs"], 5, "0 runs under"),
        (["show", "nothing"], 2, "expected a run's folder, or its id"),
        (["export", "nothing"], 2, "expected a run's folder, or its id"),
        (["resume", "nothing"], 2, "expected a run's folder, or its id"),
        (["design", "--ensemble", "none.toml"], 2, "none.toml cannot be read"),
        (["design", "--policy", "greedy", "--ensemble", "none.toml"], 2, "Leave out --agent"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(
    arguments: list[str], code: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == code
    assert said in " ".join(result.output.split())


def test_a_run_that_was_begun_is_listed_shown_exported_and_gone_on_with(program: Path) -> None:
    assert call(program, "--budget", "9", "--workers", "1", "--objective", "lines").returncode == 0
    (run,) = [path.parent.name for path in (program.parent / "runs").glob("*/run.sqlite")]

    def harness(*arguments: str) -> subprocess.CompletedProcess[str]:
        line = [*command(program), *arguments]
        line.remove("design")
        return subprocess.run(
            line, cwd=program.parent, env=environment(), capture_output=True, text=True, check=False
        )

    assert "9 of 9" in harness("runs").stdout
    assert f"Run {run}: 9 of 9 proposals" in harness("show", run).stdout
    assert len(harness("export", run).stdout.splitlines()) > 18
    again = harness("resume", run)
    assert again.returncode == 0
    assert f"Run {run}: " in again.stdout.splitlines()[-1]
