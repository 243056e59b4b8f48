from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from harness.compose.evaluation.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from harness.compose.tensor_files import digest
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


def test_changed_bytes_of_a_tensor_are_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "c", CHECKPOINT)
    data = bytearray((tmp_path / "c").read_bytes())
    data[-1] ^= 1
    (tmp_path / "c").write_bytes(data)
    with pytest.raises(HarnessError, match=r"bytes have changed\. Remove it to start"):
        load_checkpoint(tmp_path / "c", key="k")


def rewrite(path: Path, *, names: dict[str, str] | None = None, **metadata: str | None) -> None:
    """The same checkpoint with other names of tensors or other metadata; None leaves a field out."""
    with safe_open(path, framework="pt") as file:
        known = {**(file.metadata() or {}), **metadata}
        tensors = {(names or {}).get(name, name): file.get_tensor(name) for name in ("a", "b")}
    save_file(tensors, path, {name: text for name, text in known.items() if text is not None})


@pytest.mark.parametrize("field", ["state", "digest"])
def test_a_checkpoint_without_a_field_is_refused(tmp_path: Path, field: str) -> None:
    save_checkpoint(tmp_path / "c", CHECKPOINT)
    rewrite(tmp_path / "c", **{field: None})
    with pytest.raises(HarnessError, match=f"KeyError: '{field}'. Remove it to start"):
        load_checkpoint(tmp_path / "c", key="k")


@pytest.mark.parametrize("change", [{"state": json.dumps({"step": 4, "points": []})}, {"names": {"a": "c"}}])
def test_another_state_or_name_than_was_written_is_refused(tmp_path: Path, change: dict) -> None:
    save_checkpoint(tmp_path / "c", CHECKPOINT)
    rewrite(tmp_path / "c", **change)
    with pytest.raises(HarnessError, match=r"bytes have changed\. Remove it to start"):
        load_checkpoint(tmp_path / "c", key="k")


@pytest.mark.parametrize("state", ["", "{", "3", "{}", '{"step": 3, "points": [1]}', '{"points": []}'])
def test_a_state_that_is_none_is_refused(tmp_path: Path, state: str) -> None:
    save_checkpoint(tmp_path / "c", CHECKPOINT)
    rewrite(tmp_path / "c", state=state, digest=digest(state, CHECKPOINT.tensors))
    with pytest.raises(HarnessError, match=r"expected a checkpoint, got .*Error.*Remove it to start"):
        load_checkpoint(tmp_path / "c", key="k")
