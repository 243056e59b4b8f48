"""Read a file of the corpus, lay its tensors out in an arena, run its launches, and say what was reported.

`CASE` is a literal:

- `tensors`: name -> `shape`, and where they differ from a dense tensor of random numbers `dtype`, `strides`,
  `offset` and `storage` (elements), `bytes` (a byte offset of the pointer), `zeros`, `values`, `modulo`
  (integers below it), `empty` (nothing was written), `virtual` (too large to fill: pages appear when they
  are touched), `result` (every element of its view must have been written at the end);
- `launches`: kernel, grid, arguments (a tensor's name is a pointer to it) and, for grids too large to run,
  `programs`, the numbers of those that are;
- `event`, `argument`: what must be reported, and about which parameter; absent where nothing may be;
- `also`: kinds of events that may follow from it;
- `last_triton`: the last version of Triton that has what the kernels use, or means by it what they show.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from verify.triton_cpu.interpreter.launch import (
    Argument,
    Counters,
    Order,
    PointerArg,
    WorkLimits,
    load_kernels,
    run_launch,
)
from verify.triton_cpu.memory.arena import Arena, Buffer, MemoryEvent

FOLDER = Path(__file__).parent
DEFECTS = {path.stem: path for path in sorted((FOLDER / "defects").glob("[!_]*.py"))}
SOUND = {path.stem: path for path in sorted((FOLDER / "sound").glob("[!_]*.py"))}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One file: its text, its literal, and the lines of its markers."""

    name: str
    source: str
    literal: Mapping[str, Any]

    def lines(self, marker: str) -> list[int]:
        """Numbers of the lines that end in `# marker`."""
        lines = enumerate(self.source.splitlines(), 1)
        return [number for number, line in lines if line.endswith(f"# {marker}")]


def read(path: Path) -> Case:
    source = path.read_text(encoding="utf-8")
    literal = next(
        node.value
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "CASE"
    )
    return Case(name=f"{path.parent.name}/{path.name}", source=source, literal=ast.literal_eval(literal))


@dataclass(frozen=True, kw_only=True)
class Ran:
    """The arena after a run, its events, and the tensors' contents as bytes."""

    arena: Arena
    events: tuple[MemoryEvent, ...]
    contents: dict[str, bytes]


def run(case: Case, *, order: Order | None = None, conflicts: bool = True, batch: bool = True) -> Ran:
    """Run the launches of a case on fresh tensors, in `order` where a launch does not name its programs."""
    arena = lay_out(case)
    tensors = case.literal["tensors"]
    pointers = {name: _pointer(arena[name], tensor) for name, tensor in tensors.items()}
    launch(case, arena, pointers, order=order, conflicts=conflicts, batch=batch)
    for name, tensor in tensors.items():
        if tensor.get("result"):
            arena.check_coverage(arena[name], _dtype(tensor).itemsize)
    contents = {name: arena[name].bytes.tobytes() for name, tensor in tensors.items() if not _virtual(tensor)}
    return Ran(arena=arena, events=arena.events, contents=contents)


def lay_out(case: Case) -> Arena:
    """The tensors of a case, filled, in an arena of their own."""
    arena = Arena()
    tensors = case.literal["tensors"]
    for name, tensor in tensors.items():
        nbytes = _storage(tensor) * _dtype(tensor).itemsize
        if _virtual(tensor):
            arena.add_virtual(name, nbytes)
        else:
            arena.add(name, nbytes, written=True)
    arena.freeze(0xFF)
    for index, (name, tensor) in enumerate(tensors.items()):
        _fill(arena[name], tensor, index)
    return arena


def launch(
    case: Case,
    arena: Arena,
    pointers: Mapping[str, PointerArg],
    *,
    order: Order | None = None,
    conflicts: bool = True,
    batch: bool = True,
) -> None:
    """Run the launches of a case, `pointers` being what its tensors' names stand for."""
    kernels = load_kernels(case.source, case.name)
    counters = Counters()
    for step in case.literal["launches"]:
        arguments: dict[str, Argument] = {
            name: pointers.get(value, value) if isinstance(value, str) else value
            for name, value in step["arguments"].items()
        }
        run_launch(
            kernels[step["kernel"]],
            arguments,
            grid=step["grid"],
            arena=arena,
            counters=counters,
            limits=WorkLimits(programs=1 << 40),
            order=tuple(step["programs"]) if "programs" in step else order or "forward",
            conflicts=conflicts,
            batch=batch,
        )


def _virtual(tensor: Mapping[str, Any]) -> bool:
    return bool(tensor.get("virtual", False))


def _dtype(tensor: Mapping[str, Any]) -> np.dtype[Any]:
    return np.dtype(tensor.get("dtype", "float32"))


def _strides(tensor: Mapping[str, Any]) -> list[int]:
    """In elements; row-major where the tensor does not say."""
    shape = tensor["shape"]
    dense = [int(np.prod(shape[axis + 1 :], dtype=np.int64)) for axis in range(len(shape))]
    return list(tensor.get("strides", dense))


def _storage(tensor: Mapping[str, Any]) -> int:
    span = 1 + sum((n - 1) * step for n, step in zip(tensor["shape"], _strides(tensor), strict=True))
    return int(tensor.get("storage", tensor.get("offset", 0) + span))


def _view(flat: np.ndarray[Any, Any], tensor: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    """The tensor as a writable view of `flat`, one entry for each element of its storage."""
    step = flat.strides[0]
    strides = [stride * step for stride in _strides(tensor)]
    return np.lib.stride_tricks.as_strided(flat[tensor.get("offset", 0) :], tensor["shape"], strides)


def _fill(buffer: Buffer, tensor: Mapping[str, Any], index: int) -> None:
    """Contents of the view; what lies outside of it stays poison, and is no part of the tensor."""
    if _virtual(tensor):
        return
    dtype = _dtype(tensor)
    draw = np.random.Generator(np.random.Philox(index))
    shape = tuple(tensor["shape"])
    if "values" in tensor:
        values = np.array(tensor["values"], dtype)
    elif "modulo" in tensor:
        values = (np.arange(np.prod(shape)) * 7 % tensor["modulo"]).astype(dtype).reshape(shape)
    elif "zeros" in tensor or "empty" in tensor:
        values = np.zeros(shape, dtype)
    else:
        values = (draw.standard_normal(shape) * (1 if dtype.kind == "f" else 50)).astype(dtype)
    legal = np.zeros(buffer.nbytes // dtype.itemsize, np.bool_)
    _view(legal, tensor)[...] = True
    inside = np.repeat(legal, dtype.itemsize)
    if not inside.all() and not tensor.get("bytes"):
        buffer.legal = inside
    empty = tensor.get("empty", False)
    if not empty:
        _view(buffer.view(dtype), tensor)[...] = values
    buffer.written[:] = not empty
    buffer.complete = not empty


def _pointer(buffer: Buffer, tensor: Mapping[str, Any]) -> PointerArg:
    """What a kernel is given for a tensor."""
    dtype = _dtype(tensor)
    offset = tensor.get("offset", 0) * dtype.itemsize + tensor.get("bytes", 0)
    return PointerArg(buffer=buffer, byte_offset=offset, dtype=dtype.name)


def unguarded(case: Case) -> tuple[str, ...]:
    """Run a case as a device would, where a tensor is a place in one memory and nothing checks an access; the
    names of the tensors around which a guard zone was overwritten.
    """
    arena = lay_out(case)
    memory = arena._data
    first = min(buffer.base for buffer in arena.buffers) - 1024
    everything = Buffer("memory", first, memory.size, memory, np.ones(memory.size, np.bool_))
    pointers = {}
    for name, tensor in case.literal["tensors"].items():
        checked = _pointer(arena[name], tensor)
        offset = checked.address - first
        pointers[name] = PointerArg(buffer=everything, byte_offset=offset, dtype=checked.dtype)
    launch(case, arena, pointers, conflicts=False)
    return arena.damaged_guards()
