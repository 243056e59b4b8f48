"""Runs that can go on: what a training was after its last step, in files named by what it was asked."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from harness.compose.proxies.request import CurvePoint, ProxyRequest
from harness.errors import HarnessError


@dataclass(frozen=True, kw_only=True)
class Progress:
    """A training after `steps` steps: regular curve points, and the losses since the last (nats)."""

    steps: int = 0
    curve: tuple[CurvePoint, ...] = ()
    pending: tuple[float, ...] = ()
    bad: int = 0

    def to_json(self) -> str:
        curve = [[point.step, point.loss, point.score] for point in self.curve]
        return json.dumps({"steps": self.steps, "curve": curve, "pending": self.pending, "bad": self.bad})

    @classmethod
    def from_json(cls, text: str) -> Progress:
        values = json.loads(text)
        curve = tuple(CurvePoint(step=a, loss=b, score=c) for a, b, c in values["curve"])
        return cls(**{**values, "curve": curve, "pending": tuple(values["pending"])})


class Checkpoints:
    """A folder of safetensors files, safe for several processes: a file appears whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, request: ProxyRequest, progress: Progress, tensors: Mapping[str, torch.Tensor]) -> None:
        """Keep `tensors` (flat, float32). Raises HarnessError where the folder cannot be written to."""
        path = self._path(request, progress.steps)
        if path.exists():
            return
        metadata = {"progress": progress.to_json(), "digest": _digest(progress, tensors)}
        temporary = path.with_name(f".{path.name}.{os.getpid()}.{uuid.uuid4().hex}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            save_file(dict(tensors), temporary, metadata)
            temporary.replace(path)
        except (OSError, SafetensorError) as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise HarnessError(
                f"{path}: cannot be written ({error}). Make room, or choose another folder for checkpoints."
            ) from None

    def longest(self, request: ProxyRequest) -> tuple[Progress, dict[str, torch.Tensor]] | None:
        """The longest run of the same training that is no longer than `request`, None without any.

        Raises HarnessError for a damaged file.
        """
        prefix = trajectory(request)
        found = {int(p.stem.split("-")[1]): p for p in self._shard(prefix).glob(f"{prefix}-*.safetensors")}
        steps = max((steps for steps in found if steps <= request.steps), default=None)
        return None if steps is None else _load(found[steps])

    def _shard(self, prefix: str) -> Path:
        return self.folder / prefix[:2]

    def _path(self, request: ProxyRequest, steps: int) -> Path:
        prefix = trajectory(request)
        return self._shard(prefix) / f"{prefix}-{steps}.safetensors"


def trajectory(request: ProxyRequest) -> str:
    """What all lengths of a training have in common, as a hash: the request's key, its steps left out."""
    return replace(request, steps=0).key()


def _load(path: Path) -> tuple[Progress, dict[str, torch.Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata: Mapping[str, Any] = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no mapping
        progress = Progress.from_json(metadata["progress"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise _damaged(path, str(error)) from None
    if metadata.get("digest") != _digest(progress, tensors):
        raise _damaged(path, "its bytes have changed")
    return progress, tensors


def _digest(progress: Progress, tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over names, sizes and bytes, each field with its length."""
    digest = hashlib.sha256()
    fields = [progress.to_json().encode()]
    for name in sorted(tensors):
        fields += [name.encode(), tensors[name].detach().contiguous().numpy().tobytes()]
    for field in fields:
        digest.update(struct.pack("<Q", len(field)))
        digest.update(field)
    return digest.hexdigest()


def _damaged(path: Path, why: str) -> HarnessError:
    return HarnessError(
        f"{path}: expected a checkpoint, got a damaged file ({why}). Remove it: the training starts again."
    )
