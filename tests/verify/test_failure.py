"""`show --replay` and `replay`: from a rejected file to its smallest case, its element, and a picture."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.verify.here import run_here
from verify.sandbox.client import Server

ROOT = Path(__file__).resolve().parents[2]
HONEST = ROOT / "tests" / "harness" / "mechanism" / "fading_attention.py"
CASE = "B=1 T=2 H=1 K=1 V=2, float32"
SMALLEST = f"{CASE}, none gates, zero state"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "verify", *arguments],
        cwd=ROOT,
        env={**os.environ, "XDG_CACHE_HOME": "/nonexistent"},
        text=True,
        capture_output=True,
        check=False,
        timeout=240,
    )


def wrong(folder: Path, old: str, new: str) -> Path:
    text = HONEST.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path = folder / "mechanism.py"
    path.write_text(text.replace(old, new), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wrong from the second token on, in the second value feature."""
    return wrong(
        tmp_path_factory.mktemp("broken"),
        "o.to(o_ptr.dtype.element_ty), mask=columns < V)",
        "tl.where((columns == 1) & (t > 0), 0.9 * o, o).to(o_ptr.dtype.element_ty), mask=columns < V)",
    )


@pytest.fixture(scope="module")
def alone(server: Server, broken: Path) -> Any:
    """What `replay` says of the smallest case."""
    done = run_here(server, "replay", str(broken), SMALLEST, "--json")
    assert done.exit_code == 1, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_a_rejected_mechanism_is_shrunk_and_drawn(broken: Path, tmp_path: Path) -> None:
    picture = tmp_path / "map.png"
    done = run("show", str(broken.parent), "--png", str(picture))
    assert done.returncode == 1, done.stderr
    lines = done.stdout.splitlines()
    assert f"smallest  {SMALLEST} (" in done.stdout
    assert any(line.strip().startswith("element   output[0, 1, 0, 1]: expected ") for line in lines)
    assert f"smallest: {SMALLEST}" in lines, "the map of the smallest case"
    assert "down: token (T); across: value feature (V)" in lines
    assert "\x1b" not in done.stdout
    assert done.stderr.splitlines()[-1] == f"rejected by NUM-OUTPUT; smallest case found: {SMALLEST}"
    assert picture.read_bytes().startswith(b"\x89PNG")

    (again,) = (line.strip().removeprefix("again") for line in lines if line.strip().startswith("again "))
    assert shlex.split(again) == ["python", "-m", "verify", "replay", str(broken), SMALLEST]


@pytest.mark.slow
def test_the_smallest_case_alone_is_wrong_again(alone: Any) -> None:
    assert alone["case"] == SMALLEST
    assert {finding["rule"] for finding in alone["findings"]} == {"NUM-OUTPUT"}
    assert alone["counterexample"]["index"] == [0, 1, 0, 1]
    assert alone["map"]["error_over_tolerance"][1][1] > 0.5 > alone["map"]["error_over_tolerance"][1][0]


@pytest.mark.slow
def test_another_seed_gives_the_case_other_inputs(server: Server, broken: Path, alone: Any) -> None:
    done = run_here(server, "replay", str(broken), SMALLEST, "--json", "--seed", "1f")
    other = json.loads(done.stdout)
    assert alone["counterexample"]["expected"] != other["counterexample"]["expected"]


@pytest.mark.slow
def test_a_rejection_without_numbers_draws_nothing(server: Server, tmp_path: Path) -> None:
    """GRD-MISSING: there is no wrong number, only none."""
    path = wrong(tmp_path, "return d_q, d_k, d_v, d_a, d_initial", "return d_q, d_k, d_v, None, d_initial")
    picture = tmp_path / "map.png"
    done = run_here(server, "show", str(path), "--replay", "--png", str(picture), "--json")
    assert done.exit_code == 1, done.stderr
    document = json.loads(done.stdout)
    assert document["replay"]["counterexample"] is None
    assert "GRD-MISSING" in document["summary"]
    assert not picture.exists()


@pytest.mark.slow
def test_a_case_that_is_right_ends_with_0_and_shows_how_near_it_is(server: Server) -> None:
    case = "B=2 T=5 H=2 K=3 V=4, float32, gapped inputs, strong gates"
    done = run_here(server, "replay", str(HONEST), case)
    assert done.exit_code == 0, done.stderr
    assert "x tolerance  d_q" in done.stdout
    assert done.stderr == "this case is within half the tolerance\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([str(HONEST), "T=3"], "expected a case such as"),
        ([str(HONEST), "B=1 T=2 H=1 K=1 V=999, float32"], "dimension V: expected 1..128, got 999"),
        ([str(HONEST), f"{CASE}, tuning 7"], "expected a tuning below"),
        ([str(HONEST), CASE, "--seed", "xyz"], "expected a hexadecimal number, got 'xyz'"),
        ([str(ROOT / "tests" / "exploits" / "matmul.py"), CASE], "POL-"),
    ],
    ids=["no case", "size", "tuning", "seed", "does not pass the static stages"],
)
def test_what_cannot_be_run_ends_with_2_and_says_why(server: Server, arguments: list[str], said: str) -> None:
    done = run_here(server, "replay", *arguments)
    assert done.exit_code == 2
    assert said in done.stderr
    assert done.stdout == ""
