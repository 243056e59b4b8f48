from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.commands.documents import check_output
from harness.errors import WrongUsage


def test_a_document_that_can_be_written_is_found_so(tmp_path: Path) -> None:
    check_output(None)
    check_output(tmp_path / "new.json")


@pytest.mark.parametrize("name", ["missing/x.json", ".", "x" * 300])
def test_what_can_be_no_file_is_wrong_usage(tmp_path: Path, name: str) -> None:
    with pytest.raises(WrongUsage, match="--output: expected a file"):
        check_output(tmp_path / name)


def test_a_file_that_nobody_lets_us_write_is_found_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)  # root may write everywhere
    with pytest.raises(WrongUsage, match="that can be written"):
        check_output(tmp_path / "x.json")
