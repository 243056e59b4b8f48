from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.files import is_file, remove_partial, write_atomically


@pytest.mark.parametrize("name", ["x" * 256, "x/" * 3000, "a\0b"])
def test_a_name_that_no_file_can_have_is_no_file(tmp_path: Path, name: str) -> None:
    assert not is_file(tmp_path / name)


def test_a_file_is_a_file_and_a_folder_is_none(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    assert is_file(tmp_path / "x")
    assert not is_file(tmp_path)


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    for data in (b"1", b"2"):
        write_atomically(tmp_path / "new" / "c", data)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["c"]
    assert (tmp_path / "new" / "c").read_bytes() == b"2"


def test_a_write_goes_on_while_another_one_of_the_same_file_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(_: int) -> None:
        monkeypatch.undo()
        write_atomically(tmp_path / "c", b"other")

    monkeypatch.setattr("os.fsync", other)
    write_atomically(tmp_path / "c", b"mine")
    assert (tmp_path / "c").read_bytes() == b"mine"


def test_a_write_that_fails_leaves_the_file_before_it_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    write_atomically(tmp_path / "c", b"1")
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(HarnessError, match=r"cannot be written.*No space left"):
        write_atomically(tmp_path / "c", b"2")
    assert [path.name for path in tmp_path.iterdir()] == ["c"]
    assert (tmp_path / "c").read_bytes() == b"1"


def test_what_killed_processes_left_is_removed(tmp_path: Path) -> None:
    for name in (".c.17.abc.partial", ".c.partial", "c", ".c"):
        (tmp_path / name).touch()
    remove_partial(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".c", "c"]


def test_a_place_that_cannot_be_written_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HarnessError, match="cannot be written"):
        write_atomically(tmp_path / "file" / "c", b"")
