"""PyTorch's own operations under watch: `torch.empty` is poisoned, and what operators write or read is known
from their schemas.

Copies carry the shadow along, as reading to copy decides nothing. Any other operator that reads what was
never written is an event.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from verify.triton_cpu.host.shadows import Shadow, Shadows
from verify.triton_cpu.memory.events import Severity

_EMPTY = frozenset("empty empty_like empty_strided empty_permuted new_empty new_empty_strided".split())
_OVERWRITES = frozenset(
    "copy_ fill_ zero_ uniform_ normal_ random_ bernoulli_ exponential_ log_normal_ cauchy_ "
    "geometric_".split()
)
# The result is a selection of the first argument's elements (or of a list of tensors).
_MOVES = frozenset(
    "clone _to_copy cat index index_select gather masked_select constant_pad_nd repeat roll flip "
    "where masked_fill".split()
)
# Overwrites a part of the first argument, and reads nothing of it.
_SCATTERS = frozenset("index_put_ scatter_ index_copy_ index_fill_ masked_fill_ masked_scatter_".split())
_SHAPES_ONLY = ("new_", "sym_", "is_")
_SILENT = frozenset("detach alias lift_fresh _reshape_alias resize_ set_ record_stream".split())
_OURS = (str(Path(torch.__file__).parent), str(Path(__file__).parent))


@dataclass(frozen=True, kw_only=True)
class TorchRead:
    """An operator of PyTorch that read `elements` never-written elements.

    `operator` is its name in ATen, `file` and `line` the caller's, `allocated` ("file.py:12") where the
    memory came from.
    """

    operator: str
    file: str
    line: int
    allocated: str
    elements: int
    severity: Severity = "error"


def caller() -> tuple[str, int]:
    """File and line of the nearest frame that belongs neither to PyTorch nor to this package."""
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if not name.startswith(_OURS):
            return name, frame.f_lineno
        if frame.f_back is None:
            break
        frame = frame.f_back
    return "", 0


class _Reading:
    """What one operator does to its tensor arguments, by position; from its schema."""

    def __init__(self, operator: Any) -> None:
        schema = operator._schema
        self.name: str = schema.name.split("::")[-1]
        shapes_only = self.name.endswith("_like") or self.name.startswith(_SHAPES_ONLY)
        self.empty = self.name in _EMPTY
        self.writes: list[tuple[int, str]] = []
        self.reads: list[tuple[int, str]] = []
        for place, argument in enumerate(schema.arguments):
            alias = argument.alias_info
            if alias is not None and alias.is_write:
                self.writes.append((place, argument.name))
                overwritten = self.name in _OVERWRITES or self.name in _SCATTERS or argument.kwarg_only
                if overwritten:
                    continue
            elif alias is not None or shapes_only:
                continue
            if self.name not in _SILENT:
                self.reads.append((place, argument.name))


def _tensors(places: list[tuple[int, str]], args: Any, kwargs: Any) -> Iterator[torch.Tensor]:
    for place, name in places:
        value = args[place] if place < len(args) else kwargs.get(name)
        for part in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(part, torch.Tensor) and part.device.type == "cpu" and _plain(part):
                yield part


def _plain(tensor: torch.Tensor) -> bool:
    """Whether a tensor has memory of its own kind: neither fake nor sparse nor a wrapper."""
    return type(tensor) in (torch.Tensor, torch.nn.Parameter) and tensor.layout is torch.strided


class Tracker(TorchDispatchMode):
    """Poisons and watches; `reads` are the events so far, one per operator and line."""

    def __init__(self, shadows: Shadows) -> None:
        super().__init__()
        self._shadows = shadows
        self._known: dict[Any, _Reading] = {}
        self._reads: dict[tuple[str, str, int], TorchRead] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """PyTorch would load its compiler (2 s) to keep it away from this class; it is never traced."""
        return False

    @property
    def reads(self) -> tuple[TorchRead, ...]:
        return tuple(self._reads.values())

    def forget(self) -> None:
        """Drop the events so far."""
        self._reads = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        reading = self._known.get(func)
        if reading is None:
            reading = self._known[func] = _Reading(func)
        if reading.empty:
            fresh = func(*args, **given)
            if isinstance(fresh, torch.Tensor) and fresh.device.type == "cpu" and _plain(fresh):
                file, line = caller()
                self._shadows.start(fresh, f"{file}:{line}")
            return fresh
        unread = list(self._shadows.unread(list(_tensors(reading.reads, args, given))))
        written = list(self._shadows.unread(list(_tensors(reading.writes, args, given))))
        if not unread and not written:
            return func(*args, **given)
        if unread and reading.name in _MOVES:
            return self._move(func, args, given)
        if unread and reading.name == "copy_":
            result = func(*args, **given)
            self._shadows.inherit(args[0], self._flags(args[1]).expand(args[0].shape), unread[0][1].allocated)
            return result
        for tensor, shadow in unread:
            self._note(reading.name, tensor, shadow)
        result = func(*args, **given)
        for tensor, shadow in written:
            shadow.write(tensor, self._scattered(reading.name, func, tensor, shadow, args, given))
        return result

    def _note(self, name: str, tensor: torch.Tensor, shadow: Shadow) -> None:
        missing = tensor.numel() - int(torch.count_nonzero(shadow.of_view(tensor)))
        if missing:
            file, line = caller()
            event = TorchRead(
                operator=name, file=file, line=line, allocated=shadow.allocated, elements=missing
            )
            self._reads.setdefault((name, file, line), event)

    def _flags(self, value: Any) -> Any:
        """`value` with each tensor replaced by which of its elements were written."""
        if isinstance(value, (list, tuple)):
            return [self._flags(part) for part in value]
        if not isinstance(value, torch.Tensor):
            return value
        shadow = self._shadows.find(value)
        return torch.ones(value.shape, dtype=torch.bool) if shadow is None else shadow.of_view(value)

    def _move(self, func: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
        result = func(*args, **kwargs)
        flags = self._moved(func, args, kwargs)
        if not bool(flags.all()):
            sources = [part for value in args for part in _flat(value) if isinstance(part, torch.Tensor)]
            allocated = next((shadow.allocated for _, shadow in self._shadows.unread(sources)), "")
            self._shadows.inherit(result, flags.expand(result.shape), allocated)
        return result

    def _moved(self, func: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> torch.Tensor:
        """Which elements of a selection were written: the same selection, of the flags."""
        name = self._known[func].name
        if name == "where":
            parts = [self._flags(part) for part in args[1:]]
            yes, no = (part if isinstance(part, torch.Tensor) else torch.tensor(True) for part in parts)
            return torch.where(args[0], yes, no)
        if name == "masked_fill":
            covered: torch.Tensor = self._flags(args[0]) | args[1]
            return covered
        options = {key: value for key, value in kwargs.items() if key not in ("dtype", "memory_format")}
        rest = args[1:] if name != "constant_pad_nd" else (args[1], True)
        selected: torch.Tensor = func(self._flags(args[0]), *rest, **options)
        return selected

    def _scattered(
        self, name: str, func: Any, tensor: torch.Tensor, shadow: Shadow, args: Any, kwargs: dict[str, Any]
    ) -> torch.Tensor | None:
        """Where a scatter wrote (bool, the tensor's shape); None for an operator that writes everything."""
        if name not in _SCATTERS:
            return None
        mask = torch.zeros(tensor.shape, dtype=torch.bool)
        if name == "index_put_":
            return mask.index_put_(args[1], torch.ones((), dtype=torch.bool))
        if name in ("masked_fill_", "masked_scatter_"):
            return mask | args[1]
        if name == "index_copy_":
            return mask.index_fill_(args[1], args[2], True)
        if name == "index_fill_":
            return mask.index_fill_(args[1], args[2], True)
        return mask.scatter_(args[1], args[2], True)


def _flat(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]
