from __future__ import annotations

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


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_a_damaged_file_is_named_and_not_used(tmp_path: Path, damage: str) -> None:
    kept = Checkpoints(tmp_path)
    kept.save(request(), PROGRESS, TENSORS)
    (path,) = tmp_path.rglob("*.safetensors")
    data = path.read_bytes()
    path.write_bytes({"cut": data[:-3], "flip": data[:-1] + bytes([data[-1] ^ 1]), "empty": b""}[damage])
    with pytest.raises(HarnessError, match=r"damaged file .*Remove it"):
        kept.longest(request(steps=9))


def test_a_folder_that_cannot_be_written_to_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HarnessError, match="cannot be written"):
        Checkpoints(tmp_path / "file").save(request(), PROGRESS, TENSORS)
