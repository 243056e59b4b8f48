from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from harness.engine.folders import remove_unfinished, write_candidate, written_verdicts
from harness.errors import HarnessError
from tests.harness.engine.fake_judge import FakeJudge

VERDICT = b'{"skeleton": "linear_state/v1/ungated"}\n'


def write(out: Path, source: bytes = b"x = 1\n", verdict: bytes = VERDICT) -> Path:
    return write_candidate(
        out,
        family="linear_state",
        name="ungated-exp-abc",
        source=source,
        verdict=verdict,
        measured={"behaviour": "b"},
    )


def test_writing_twice_is_writing_once(tmp_path: Path) -> None:
    folder = write(tmp_path)
    stamp = (folder / "mechanism.py").stat().st_mtime_ns
    assert write(tmp_path) == folder
    assert (folder / "mechanism.py").stat().st_mtime_ns == stamp
    assert [path.name for path in (tmp_path / "linear_state").iterdir()] == ["ungated-exp-abc"]


def test_noisy_numbers_do_not_make_a_folder_another_one(tmp_path: Path) -> None:
    folder = write(tmp_path)
    (folder / "measured" / "cpu.json").write_text("{}\n")
    assert write(tmp_path) == folder


@pytest.mark.parametrize("change", [{"source": b"x = 2\n"}, {"verdict": b"{}\n"}])
def test_other_bytes_under_the_same_name_are_refused(tmp_path: Path, change: dict[str, bytes]) -> None:
    write(tmp_path)
    with pytest.raises(HarnessError, match="append-only"):
        write(tmp_path, **change)


def test_a_full_disk_leaves_no_half_of_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0

    def fails_third(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fails_third)
    with pytest.raises(HarnessError, match="No space left on device"):
        write(tmp_path)
    assert list((tmp_path / "linear_state").iterdir()) == []


def test_leftovers_of_a_killed_run_are_removed(tmp_path: Path) -> None:
    folder = write(tmp_path)
    leftover = tmp_path / "linear_state" / ".incoming-ungated-relu-abc"
    leftover.mkdir()
    (leftover / "mechanism.py").write_text("half of it")
    remove_unfinished(tmp_path)
    assert not leftover.exists()
    assert folder.exists()


def test_verdicts_are_read_from_folders_that_have_one(tmp_path: Path) -> None:
    verdict = FakeJudge().check(b"x = 1\n", path="x.py", depth="full")
    folder = write(tmp_path, verdict=verdict.to_bytes())
    (tmp_path / "linear_state" / "empty").mkdir()
    (tmp_path / "linear_state" / "other").mkdir()
    (tmp_path / "linear_state" / "other" / "verdict.json").write_bytes(VERDICT)
    assert written_verdicts(tmp_path, "linear_state") == [(verdict, folder)]
    assert written_verdicts(tmp_path, "other") == []
