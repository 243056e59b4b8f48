"""`verify foreign`: several specs, each in its own process; one that dies does not take the rest with it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")

from verify.foreign.document import verdict_of
from verify.foreign.loading import Unavailable, load, require
from verify.foreign.process import Collected, collect
from verify.foreign.spec import BrokenSpec

ROOT = Path(__file__).resolve().parents[3]
STUB = """
import os
from verify.foreign.spec import Case, Input, Output, Spec

SPEC = Spec(
    name="stub", call=lambda x: {call}, reference=lambda x: 2 * x,
    inputs=(Input(name="x", dims="D"),), outputs=(Output(name="y", dims="D"),),
    cases=tuple(Case(name=n, sizes={{"D": d}}, depth="quick") for n, d in (("first", 4), ("second", 5))),
)
"""


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / f"{name}.py"
    path.write_text(text)
    return path


@pytest.mark.slow
def test_specs_end_one_by_one_and_the_exit_code_is_the_worst(tmp_path: Path) -> None:
    broken = written(tmp_path, "broken", "SPEC = 3\n")
    wrong = written(tmp_path, "wrong", STUB.format(call="2.001 * x"))
    crash = written(tmp_path, "crash", STUB.format(call="os.abort() if x.numel() == 4 else 2 * x"))
    out = tmp_path / "out.json"
    command = [sys.executable, "-m", "verify", "foreign", str(broken), str(crash), str(wrong)]
    command += ["--depth", "quick", "--json", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 3, done.stderr
    assert "3 judged: 1 broken spec, 1 error, 1 fail." in done.stderr
    one, two, three = json.loads(out.read_text())["verdicts"]
    assert [v["decision"] for v in (one, two, three)] == ["broken spec", "error", "fail"]
    assert {v["trust"] for v in (one, two, three)} == {"vendor"}
    assert "expected `SPEC = Spec(...)`" in one["problems"][0]
    assert [text.split(":")[0] for text in two["problems"]] == ["first, float32"]
    assert "ended with code -6" in two["problems"][0]
    assert two["stages"]["NUM"] == "pass"  # of the second case, which ran
    assert {note["rule"] for note in three["notes"]} == {"NUM-OUTPUT", "GRD-VALUE"}


def test_a_hang_ends_at_its_time_limit(tmp_path: Path) -> None:
    path = written(tmp_path, "hang", "import time\ntime.sleep(600)\n")
    found = collect(path, depth="quick", seconds=0.5, memory_gib=8, say=lambda _: None)
    verdict = verdict_of(str(path), found, depth="quick")
    assert verdict.problems == ("loading: no answer within 0.5 s",)
    assert verdict.exit_code(accept_known=True) == 3


def test_a_missing_library_and_another_version_are_unavailable(tmp_path: Path) -> None:
    path = written(tmp_path, "needs", "import no_such_module\n")
    with pytest.raises(Unavailable, match="no_such_module"):
        load(path)
    with pytest.raises(Unavailable, match="found no no-such-library"):
        require(("no-such-library>=1",))
    with pytest.raises(Unavailable, match=r"expected numpy==0\.0\.1, got numpy"):
        require(("numpy==0.0.1",))
    with pytest.raises(BrokenSpec, match="expected a requirement"):
        require(("numpy >> 1",))
    verdict = verdict_of("x.py", Collected(unavailable="no"), depth="full")
    assert (verdict.decision, verdict.exit_code(accept_known=True)) == ("unavailable", 3)


def test_an_unknown_triton_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("verify.foreign.loading.version", lambda _: "4.0.0")
    with pytest.raises(Unavailable, match=r"expected triton>=3\.6,<3\.10, got triton 4"):
        require(())


def test_a_file_that_does_not_run_is_a_broken_spec(tmp_path: Path) -> None:
    with pytest.raises(BrokenSpec, match="SyntaxError"):
        load(written(tmp_path, "syntax", "SPEC = (\n"))


def test_a_folder_without_specs_is_nothing_to_check(tmp_path: Path) -> None:
    for argument, code in ((str(tmp_path), 5), ("nowhere.py", 2)):
        command = [sys.executable, "-m", "verify", "foreign", argument]
        assert subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == code
