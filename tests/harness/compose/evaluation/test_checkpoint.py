from __future__ import annotations

from pathlib import Path

import pytest
import torch

from harness.compose.evaluation.checkpoint import (
    Checkpoint,
    load_checkpoint,
    save_checkpoint,
    write_atomically,
)
from harness.errors import HarnessError

CHECKPOINT = Checkpoint(
    key="k",
    step=3,
    points=((1, 2.5), (3, 0.1)),
    tensors={"a": torch.arange(6.0).reshape(2, 3).T, "b": torch.tensor(3.0)},
)


def test_a_checkpoint_comes_back(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "new" / "c", CHECKPOINT)
    found = load_checkpoint(tmp_path / "new" / "c", key="k")
    assert (found.key, found.step, found.points) == ("k", 3, ((1, 2.5), (3, 0.1)))
    assert found.tensors.keys() == CHECKPOINT.tensors.keys()
    assert all(torch.equal(found.tensors[name], value) for name, value in CHECKPOINT.tensors.items())


def test_a_newer_one_replaces_it_and_leaves_nothing_else(tmp_path: Path) -> None:
    for step in (3, 4):
        save_checkpoint(tmp_path / "c", Checkpoint(key="k", step=step, points=(), tensors={}))
    assert load_checkpoint(tmp_path / "c", key="k").step == 4
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_a_cut_file_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "c", CHECKPOINT)
    (tmp_path / "c").write_bytes((tmp_path / "c").read_bytes()[:-4])
    with pytest.raises(HarnessError, match=r"expected a checkpoint, got .*Remove it"):
        load_checkpoint(tmp_path / "c", key="k")


def test_another_key_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "c", CHECKPOINT)
    with pytest.raises(HarnessError, match="another run's"):
        load_checkpoint(tmp_path / "c", key="other")


def test_a_place_that_cannot_be_written_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HarnessError, match="cannot be written"):
        write_atomically(tmp_path / "file" / "c", b"")
