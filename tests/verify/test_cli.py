"""The command line: one clear sentence and a documented exit code for every way to end."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.verify.here import run_here
from verify.sandbox.client import Server

ROOT = Path(__file__).resolve().parents[2]
SKELETON = ROOT / "templates" / "linear_state" / "v1" / "ungated.py"
QUICK = ("check", str(ROOT / "tests" / "honest" / "mean_mixer.py"), "--depth", "quick", "--json")
"""Judged in a few seconds."""


def run(*arguments: str, cache: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache or "/nonexistent")}
    return subprocess.run(
        [sys.executable, "-m", "verify", *arguments],
        cwd=ROOT,
        env=environment,
        text=True,
        capture_output=True,
        check=False,
        timeout=240,
    )


def test_a_clean_file_ends_with_0_and_a_sentence() -> None:
    done = run("check", str(SKELETON), "--depth", "static")
    assert done.returncode == 0, done.stderr
    assert "1 of 1 clean at depth static." in done.stderr
    assert "PAR pass" in done.stdout


def test_a_file_that_does_not_parse_ends_with_1_and_its_line(tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    path.write_text("def forward(q, k v):\n    pass\n")
    done = run("check", str(path), "--depth", "static")
    assert done.returncode == 1
    assert f"{path}:1:" in done.stdout
    assert "PAR-SYNTAX" in done.stdout


def test_five_mistakes_in_a_spec_are_five_findings_at_once(tmp_path: Path) -> None:
    text = SKELETON.read_text()
    for old, new in (
        ('"contract": 1', '"contract": 7'),
        ('"causal": True', '"causal": 1'),
        ('"k": "B T H K"', '"k": "B T H K : gaussian"'),
        ('"params": {}', '"parms": {}'),
        ('"output": "B T H V"', '"output": "T B H V"'),
    ):
        assert old in text
        text = text.replace(old, new, 1)
    path = tmp_path / "five.py"
    path.write_text(text)
    done = run("check", str(path), "--depth", "static", "--json")
    assert done.returncode == 1
    (verdict,) = json.loads(done.stdout)["verdicts"]
    spec_lines = {finding["line"] for finding in verdict["findings"] if finding["rule"].startswith("CON-")}
    assert len(spec_lines) >= 5


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["check", "/no/such/file.py"], 2, "found nothing"),
        (["check", "--depth", "deep", str(SKELETON)], 2, "deep"),
        (["check", "--frob", str(SKELETON)], 2, "--frob"),
        (["explain", "NUM-OUTPT"], 2, "NUM-OUTPUT"),
        (["check", str(ROOT / "docs")], 5, "nothing to check"),
        (["check", "--device", "tpu", str(SKELETON)], 2, "tpu"),
        (["bench", "--device", "cpu", "--record", str(SKELETON)], 2, "times of a CPU are not kept"),
        (["bench", "--form", "fastest", str(SKELETON)], 2, "fastest"),
        (["compile", "--target", "sm_70", str(SKELETON)], 2, "sm_70"),
        (["compile", "--dtype", "float8", str(SKELETON)], 2, "float8"),
        (["compile", str(ROOT / "docs")], 5, "nothing to compile"),
    ],
)
def test_wrong_usage_ends_with_its_code_and_names_what_was_wrong(
    arguments: list[str], code: int, says: str
) -> None:
    done = run(*arguments)
    assert done.returncode == code
    assert says in done.stderr


def test_explain_prints_what_why_and_how_to_fix() -> None:
    done = run("explain", "GRD-VALUE")
    assert done.returncode == 0
    assert "GRD-VALUE" in done.stdout


def test_a_full_disk_ends_with_3_and_one_line() -> None:
    done = run("check", str(SKELETON), "--depth", "static", "--output", "/dev/full")
    assert done.returncode == 3
    assert "free space" in done.stderr
    assert "Traceback" not in done.stderr


def test_show_prints_claims_only_for_a_committed_verdict() -> None:
    done = run("show", str(SKELETON))
    assert done.returncode == 1
    assert "no verdict.json beside it" in done.stderr


@pytest.fixture(scope="module")
def judged(server: Server, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A cache with one entry, and what was said when it was made."""
    folder = tmp_path_factory.mktemp("judged")
    done = run_here(server, *QUICK, cache=folder)
    assert done.exit_code == 0, done.output
    return folder, done.stdout


@pytest.mark.slow
def test_an_unchanged_source_is_answered_from_the_cache(judged: tuple[Path, str]) -> None:
    cache, said = judged
    program = (
        "import sys; from verify.cli import main\n"
        "try: main()\nfinally: print('torch' in sys.modules, 'libcst' in sys.modules)"
    )
    again = subprocess.run(
        [sys.executable, "-c", program, *QUICK],
        cwd=ROOT,
        env={**os.environ, "XDG_CACHE_HOME": str(cache)},
        text=True,
        capture_output=True,
        check=False,
    )
    assert again.stdout == said + "False False\n"


@pytest.mark.slow
def test_a_damaged_cache_entry_is_judged_again(judged: tuple[Path, str], tmp_path: Path) -> None:
    cache, said = judged
    shutil.copytree(cache, tmp_path, dirs_exist_ok=True)
    (entry,) = tmp_path.rglob("*.json")
    entry.write_text(entry.read_text()[:100])
    assert run(*QUICK, cache=tmp_path).stdout == said
    assert len(entry.read_text()) > 100
