"""`refresh` brings verdicts up to date, touches no mechanism, and leaves whole files behind."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.verify.gate.scratch import CANDIDATES, ROOT
from verify.errors import InfrastructureError
from verify.findings import Finding
from verify.gate import reproduce
from verify.gate.refresh import find_candidates, refresh_candidate, refresh_sentence, replace_file
from verify.judge.verdict import Depth, Verdict

TOMORROW = "a rules version that does not exist yet"


class Committed:
    """Judges as the committed files say, with one field changed where asked."""

    def __init__(self, **changes: object) -> None:
        self._changes = changes
        self.measured = json.loads((CANDIDATES[0] / "measured" / "cpu.json").read_bytes())

    def check(self, source: bytes, *, path: str, depth: Depth, root_seed: int = 0) -> Verdict:
        assert depth == "full"
        verdict = Verdict.from_bytes((CANDIDATES[0] / "verdict.json").read_bytes())
        return dataclasses.replace(verdict, **{"measured": self.measured, **self._changes})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    target = tmp_path / "candidates" / "linear_state" / CANDIDATES[0].name
    shutil.copytree(CANDIDATES[0], target)
    return target


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def rejected() -> Committed:
    finding = Finding(rule="GRD-VALUE", message="expected one, got two. Count again.", line=50)
    return Committed(admission="rejected", findings=(finding,))


def test_what_is_up_to_date_is_left_alone(folder: Path) -> None:
    before = contents(folder)
    judge = Committed()
    judge.measured = judge.measured | {"seconds": {"static": 99.0}}
    result = refresh_candidate(folder, judge, write_rejected=False)
    assert (result.outcome, result.changes) == ("unchanged", ())
    assert contents(folder) == before


def test_new_rules_rewrite_the_verdict_and_name_the_field(folder: Path) -> None:
    before = contents(folder)
    result = refresh_candidate(folder, Committed(rules=TOMORROW), write_rejected=False)
    assert result.outcome == "rewritten"
    assert "rules" in result.changes
    after = contents(folder)
    assert json.loads(after["verdict.json"])["rules"] == TOMORROW
    assert after["mechanism.py"] == before["mechanism.py"]
    assert set(after) == set(before)
    assert refresh_candidate(folder, Committed(rules=TOMORROW), write_rejected=False).outcome == "unchanged"


def test_new_numbers_are_written(folder: Path) -> None:
    judge = Committed()
    judge.measured = judge.measured | {"cases": 1000}
    result = refresh_candidate(folder, judge, write_rejected=False)
    assert result.changes == ("measured/cpu.json",)
    assert json.loads((folder / "measured" / "cpu.json").read_bytes())["cases"] == 1000


@pytest.mark.parametrize("damage", [b"", b"{", b"[]\n", b"[" * 100_000])
def test_a_damaged_verdict_is_replaced(folder: Path, damage: bytes) -> None:
    good = (folder / "verdict.json").read_bytes()
    (folder / "verdict.json").write_bytes(damage)
    result = refresh_candidate(folder, Committed(), write_rejected=False)
    assert "verdict.json" in result.changes
    assert (folder / "verdict.json").read_bytes() == good


def test_a_candidate_that_is_no_longer_admitted_keeps_its_verdict_unless_asked(folder: Path) -> None:
    before = contents(folder)
    result = refresh_candidate(folder, rejected(), write_rejected=False)
    assert result.outcome == "rejected"
    assert contents(folder) == before
    assert "--write-rejected" in refresh_sentence([result])
    result = refresh_candidate(folder, rejected(), write_rejected=True)
    assert result.outcome == "rejected and rewritten"
    assert json.loads((folder / "verdict.json").read_bytes())["admission"] == "rejected"
    assert (folder / "mechanism.py").read_bytes() == before["mechanism.py"]


@pytest.mark.parametrize("finding", ["ADM-TIMEOUT", None])
def test_no_verdict_replaces_none(folder: Path, finding: str | None) -> None:
    before = contents(folder)
    findings = (Finding(rule=finding, message="expected an answer, got none"),) if finding else ()
    judge = Committed(admission="incomplete", findings=findings)
    result = refresh_candidate(folder, judge, write_rejected=True)
    assert result.outcome == ("timed out" if finding else "skipped")
    assert contents(folder) == before


def test_a_write_that_fails_leaves_the_old_file_and_no_rest(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(folder)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        refresh_candidate(folder, Committed(rules=TOMORROW), write_rejected=False)
    assert contents(folder) == before


def test_a_replaced_file_can_be_read_by_everybody(tmp_path: Path) -> None:
    replace_file(tmp_path / "deep" / "file.json", b"{}\n")
    assert (tmp_path / "deep" / "file.json").stat().st_mode & 0o777 == 0o644


def test_candidates_are_found_below_any_of_their_folders(folder: Path) -> None:
    assert find_candidates(folder) == find_candidates(folder.parent.parent) == [folder]
    (folder.parent / "link").symlink_to(folder)
    assert find_candidates(folder.parent.parent) == [folder]


def test_another_triton_writes_no_verdicts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reproduce, "installed_triton", lambda: "3.9.0")
    with pytest.raises(InfrastructureError, match="nothing was written"):
        reproduce.require_pinned_triton()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ([], 5, "nothing to check"),
        (["/no/such/folder"], 2, "expected a folder"),
        (["--frob"], 2, "--frob"),
    ],
)
def test_without_candidates_refresh_ends_with_its_code(
    tmp_path: Path, arguments: list[str], code: int, says: str
) -> None:
    program = "import sys; sys.path.insert(0, sys.argv.pop(1)); from verify.cli import main; main()"
    command = [sys.executable, "-P", "-c", program, str(ROOT), "refresh", *arguments]
    done = subprocess.run(command, cwd=tmp_path, text=True, capture_output=True, check=False)
    assert done.returncode == code
    assert says in done.stderr
