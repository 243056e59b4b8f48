from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.compose.proxies.curves import main


def test_stacks_are_told_with_intervals_and_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(
        ["--task", "memorization", "--compositions", "M;mA M", "--seeds", "2", "--workers", "1",
         "--runs", str(tmp_path / "runs"), "--out", str(tmp_path)]
    )  # fmt: skip
    first, second = json.loads((tmp_path / "curves.json").read_text())
    assert (first["composition"], first["minus_first"]) == ("M", None)
    assert second["minus_first"]["n"] == 2
    assert first["score"]["mean"] < 0.1
    assert second["score"]["mean"] > 0.9
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert "mA+M" in capsys.readouterr().out
