"""What a killed training run needs to go on: one safetensors file, replaced as a whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from harness.compose.tensor_files import digest
from harness.errors import HarnessError
from harness.files import write_atomically


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
    metadata = {"key": checkpoint.key, "state": state, "digest": digest(state, tensors)}
    write_atomically(path, save(tensors, metadata=metadata))


def load_checkpoint(path: Path, *, key: str) -> Checkpoint:
    """Read a checkpoint of the run `key`. Raises HarnessError if it is damaged or of another run."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no mapping
    except (SafetensorError, OSError) as error:
        raise damaged(path, str(error)) from None
    if metadata.get("key") != key:
        raise HarnessError(
            f"{path}: expected a checkpoint of this composition, recipe and corpus, got another run's. "
            "Choose another folder, or remove it to start training anew."
        )
    try:
        text = metadata["state"]
        if metadata["digest"] != digest(text, tensors):
            raise damaged(path, "a file whose bytes have changed")
        state = json.loads(text)
        points = tuple((step, bits) for step, bits in state["points"])
        return Checkpoint(key=key, step=state["step"], points=points, tensors=tensors)
    except (KeyError, ValueError, TypeError) as error:
        raise damaged(path, f"{type(error).__name__}: {error}") from None


def damaged(path: Path, what: str) -> HarnessError:
    """The error for a file that no training can go on from; `what` is what was found in its place."""
    return HarnessError(f"{path}: expected a checkpoint, got {what}. Remove it to start training anew.")
