from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from harness.compose.proxies.checkpoints import Checkpoints, Progress
from harness.compose.proxies.request import CurvePoint
from harness.errors import HarnessError
from tests.harness.compose.proxies.requests import request

PROGRESS = Progress(steps=5, curve=(CurvePoint(step=4, loss=0.1 + 0.2, score=0.3),), pending=(1 / 3,), bad=1)
TENSORS = {"parameters": torch.tensor([1.0, -0.0, float("inf")])}


def test_what_was_kept_comes_back_to_the_bit(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path)
    kept.save(request(steps=5), PROGRESS, TENSORS)
    found = kept.longest(request(steps=9))
    assert found is not None
    assert found[0] == PROGRESS
    assert found[1]["parameters"].numpy().tobytes() == TENSORS["parameters"].numpy().tobytes()


def test_only_runs_of_the_same_training_that_are_no_longer_are_found(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path)
    kept.save(request(), PROGRESS, TENSORS)
    assert kept.longest(request(steps=4)) is None
    assert kept.longest(request(steps=5)) is not None
    assert kept.longest(request(steps=9, seed=1)) is None
    assert kept.longest(request(steps=9, split="final")) is None


def damage_to(path: Path, how: str) -> None:
    data = path.read_bytes()
    path.write_bytes({"cut": data[:-3], "flip": data[:-1] + bytes([data[-1] ^ 1]), "empty": b""}[how])


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_a_damaged_file_is_told_removed_and_written_again(tmp_path: Path, damage: str) -> None:
    told: list[str] = []
    kept = Checkpoints(tmp_path, tell=told.append)
    kept.save(request(), PROGRESS, TENSORS)
    (path,) = tmp_path.rglob("*.safetensors")
    damage_to(path, damage)
    assert kept.longest(request(steps=9)) is None
    assert [line.partition(" (")[0] for line in told] == [
        f"{path}: expected a checkpoint, got a damaged file"
    ]
    kept.save(request(), PROGRESS, TENSORS)
    assert kept.longest(request(steps=9)) is not None
    assert len(told) == 1


def test_a_shorter_run_serves_where_the_longest_is_damaged(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path, tell=lambda _: None)
    kept.save(request(), replace(PROGRESS, steps=3), TENSORS)
    kept.save(request(), replace(PROGRESS, steps=10), TENSORS)
    (path,) = tmp_path.rglob("*-10.safetensors")
    damage_to(path, "flip")
    found = kept.longest(request(steps=12))
    assert found is not None
    assert found[0].steps == 3


def test_damage_is_told_on_stderr_unless_somebody_else_wants_to_know(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = Checkpoints(tmp_path)
    kept.save(request(), PROGRESS, TENSORS)
    (path,) = tmp_path.rglob("*.safetensors")
    damage_to(path, "cut")
    assert kept.longest(request(steps=9)) is None
    (line,) = capsys.readouterr().err.splitlines()
    assert "trained again without it" in line


def test_a_file_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[list[Path]] = []
    monkeypatch.setattr("os.fsync", lambda _: synced.append(list(tmp_path.rglob("*.safetensors"))))
    Checkpoints(tmp_path).save(request(), PROGRESS, TENSORS)
    assert synced == [[]]


def test_a_folder_that_cannot_be_written_to_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HarnessError, match="cannot be written"):
        Checkpoints(tmp_path / "file").save(request(), PROGRESS, TENSORS)
