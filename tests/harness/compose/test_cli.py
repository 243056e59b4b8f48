from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.compose.cli import app


def call(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "--primitives", "mA,Mc"], "nearest: "),
        (["run", "--preset", "huge"], "at tiny, small or mad"),
        (["run", "--primitives", "mA,M", "--rungs", "10:1"], "300 steps or more"),
        (["run", "--primitives", "mA,M", "--others", "noisy"], "expected a task of"),
        (["run", "--primitives", ""], "alphabet: expected at least one primitive"),
        (["run", "--primitives", "mA,M", "--max-parameters", "0"], "parameters: expected a limit of one"),
        (["run", "--candidates", "nowhere"], "--candidates: expected a folder"),
        (["show", "nothing"], "study: expected a study's folder"),
        (["extrapolate", "composer-best", "--target", "5b"], "--target: expected one of 350m, 1b, 3b"),
        (["extrapolate", "mA Mc", "--target", "1b"], "Nor is it a baseline"),
        (["eval", "mA M", "--width", "40"], "--width: expected a multiple of 32"),
        (["eval", " ".join(["mA M"] * 100), "--width", "40"], "--width: expected a multiple of 32"),
        (["eval", "mistyped"], "expected a study's folder"),
        (["eval", "mA -"], "Nor is it the folder of a saved model or a composition"),
        (["extrapolate", " ".join(["mA Mc"] * 100), "--target", "1b"], "Nor is it a baseline"),
        (["show", "x" * 300], "study: expected a study's folder"),
    ],
)
def test_wrong_wishes_end_with_code_2_and_one_line(tmp_path: Path, arguments: list[str], said: str) -> None:
    runs = ("--runs", str(tmp_path))
    code, _, stderr = call(*arguments, *runs)
    assert code == 2
    assert said in stderr
    assert len(stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("command", "option", "value"),
    [
        ("eval", "--seed", "9" * 23),
        ("eval", "--threads", "9" * 11),
        ("eval", "--limit", "9" * 20),
        ("eval", "--steps", "9" * 20),
        ("eval", "--width", "3200000"),
        ("run", "--seed", "9" * 23),
        ("run", "--budget", "9" * 23),
        ("run", "--workers", "9" * 5),
        ("show", "--best", "9" * 23),
    ],
)
def test_numbers_that_no_machine_can_serve_are_wrong_usage(
    tmp_path: Path, command: str, option: str, value: str
) -> None:
    what = [] if command == "run" else ["mA M"]
    code, _, stderr = call(command, *what, option, value, "--runs", str(tmp_path))
    assert code == 2
    assert option in stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("output", ["nowhere/x", "x" * 300, "."])
@pytest.mark.parametrize("command", [["run", "--primitives", "mA,M"], ["eval", "mA M"]])
def test_an_output_that_cannot_be_a_file_is_wrong_usage(
    tmp_path: Path, command: list[str], output: str
) -> None:
    where = ("--runs", str(tmp_path), "--output", str(tmp_path / output))
    code, _, stderr = call(*command, *where)
    assert code == 2
    assert "--output: expected a file" in stderr


def test_a_mechanism_that_was_not_admitted_ends_with_code_1_and_its_rule(tmp_path: Path) -> None:
    code, _, stderr = call("run", "--primitives", "mA,meuujmul", "--runs", str(tmp_path))
    assert code == 1
    assert "ADM-NOT-ADMITTED" in stderr


def test_nothing_to_compose_ends_with_code_5(tmp_path: Path) -> None:
    wishes = ("--primitives", "admitted", "--candidates", str(tmp_path), "--runs", str(tmp_path))
    code, _, stderr = call("run", *wishes)
    assert code == 5
    assert "nox -s design" in stderr


def test_a_baseline_is_written_as_one_document(tmp_path: Path) -> None:
    target = ("--target", "1b", "--target", "350m")
    code, stdout, _ = call("extrapolate", "llama-3.2", *target, "--out", str(tmp_path), "--json")
    assert code == 0
    exact, matched = json.loads(stdout)
    assert exact["counts"]["parameters"] == 1_235_814_400
    assert abs(matched["counts"]["parameters"] / 350e6 - 1) < 0.03
    assert Path(exact["file"]).is_file()


WITHOUT = """
import sys
sys.modules[sys.argv.pop(1)] = None
from harness.compose.cli import app
app()
"""


@pytest.mark.parametrize(
    ("library", "command", "extra"),
    [
        ("optuna", ["run", "--primitives", "mA,M"], "compose"),
        ("scipy", ["show", "x"], "compose"),
        ("matplotlib", ["run", "--primitives", "mA,M"], "compose"),
        ("lm_eval", ["eval", "mA M"], "eval"),
    ],
)
def test_a_missing_library_is_named_with_its_extra_before_any_work(
    tmp_path: Path, library: str, command: list[str], extra: str
) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT, library, *command, "--runs", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 3
    assert ended.stderr.endswith(f"got none. Install it: pip install 'aira-harness[{extra}]'\n")
    assert len(ended.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_evaluating_does_not_need_the_library_that_searches() -> None:
    command = [sys.executable, "-c", WITHOUT, "optuna", "eval", "mA M", "--width", "40"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "--width: expected a multiple of 32" in ended.stderr
