"""What a killed training run needs to go on: one safetensors file, replaced as a whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from harness.errors import HarnessError


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The state after `step` steps. `key` says of which run; `points` are (step, bits per byte)."""

    key: str
    step: int
    points: tuple[tuple[int, float], ...]
    tensors: Mapping[str, torch.Tensor]


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write the file durably in place of the one before."""
    tensors = {name: tensor.contiguous() for name, tensor in checkpoint.tensors.items()}
    state = json.dumps({"step": checkpoint.step, "points": checkpoint.points})
    write_atomically(path, save(tensors, metadata={"key": checkpoint.key, "state": state}))


def load_checkpoint(path: Path, *, key: str) -> Checkpoint:
    """Read a checkpoint of the run `key`. Raises HarnessError if it is damaged or of another run."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no mapping
    except (SafetensorError, OSError) as error:
        raise HarnessError(
            f"{path}: expected a checkpoint, got {error}. Remove it to start training anew."
        ) from None
    if metadata.get("key") != key:
        raise HarnessError(
            f"{path}: expected a checkpoint of this composition, recipe and corpus, got another run's. "
            "Choose another folder, or remove it to start training anew."
        )
    state = json.loads(metadata["state"])
    points = tuple((step, bits) for step, bits in state["points"])
    return Checkpoint(key=key, step=state["step"], points=points, tensors=tensors)


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a file: after a crash there is the old one or the new one. Raises HarnessError."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise HarnessError(
            f"{path}: cannot be written ({error.strerror}). Make room or permission."
        ) from None
