"""Runs that can go on: what a training was after its last step, in files named by what it was asked."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.text import Text
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from harness.compose.proxies.request import CurvePoint, ProxyRequest
from harness.compose.tensor_files import digest
from harness.endings import remarks_console
from harness.errors import HarnessError
from harness.files import write_atomically
from harness.printable import printable


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


class Damaged(Exception):
    """A file that no training can go on from."""


def remark(text: str) -> None:
    """One line on stderr."""
    remarks_console().print(Text(printable(text)), soft_wrap=True)


class Checkpoints:
    """A folder of safetensors files, safe for several processes: a file appears whole or not at all.

    It is a cache: what is damaged is removed, which `tell` is told, and trained again.
    """

    def __init__(self, folder: Path, *, tell: Callable[[str], None] = remark) -> None:
        self.folder = folder
        self._tell = tell

    def save(self, request: ProxyRequest, progress: Progress, tensors: Mapping[str, torch.Tensor]) -> None:
        """Keep `tensors` (flat, float32). Raises HarnessError where the folder cannot be written to."""
        path = self._path(request, progress.steps)
        if path.exists():
            return
        state = progress.to_json()
        write_atomically(path, save(dict(tensors), {"progress": state, "digest": digest(state, tensors)}))

    def longest(self, request: ProxyRequest) -> tuple[Progress, dict[str, torch.Tensor]] | None:
        """The longest run of the same training that is no longer than `request`, None without any.

        Raises HarnessError for a file that may not be read.
        """
        prefix = trajectory(request)
        found = {int(p.stem.split("-")[1]): p for p in self._shard(prefix).glob(f"{prefix}-*.safetensors")}
        for steps in sorted((steps for steps in found if steps <= request.steps), reverse=True):
            try:
                return _load(found[steps])
            except FileNotFoundError:
                continue  # another process has just removed it, for it was damaged
            except Damaged as reason:
                self._remove(found[steps], str(reason))
        return None

    def _remove(self, path: Path, reason: str) -> None:
        self._tell(f"{path}: expected a checkpoint, got a damaged file ({reason}); trained again without it")
        with contextlib.suppress(OSError):  # it stays, and is of no use to anybody
            path.unlink()

    def _shard(self, prefix: str) -> Path:
        return self.folder / prefix[:2]

    def _path(self, request: ProxyRequest, steps: int) -> Path:
        prefix = trajectory(request)
        return self._shard(prefix) / f"{prefix}-{steps}.safetensors"


def trajectory(request: ProxyRequest) -> str:
    """What all lengths of a training have in common, as a hash: the request's key, its steps left out."""
    return replace(request, steps=0).key()


def _load(path: Path) -> tuple[Progress, dict[str, torch.Tensor]]:
    """Raises Damaged, FileNotFoundError where it is gone, HarnessError where it cannot be read."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata: Mapping[str, Any] = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no mapping
        state = metadata["progress"]
        if metadata["digest"] != digest(state, tensors):
            raise Damaged("its bytes have changed")
        return Progress.from_json(state), tensors
    except FileNotFoundError:
        raise
    except OSError as error:
        raise HarnessError(
            f"{path}: cannot be read ({error}). Give permission, or choose another folder for checkpoints."
        ) from None
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise Damaged(f"{type(error).__name__}: {error}") from None
