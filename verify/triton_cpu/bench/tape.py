"""Recorded launches as files that two processes can run: no torch, no Triton, nothing that is measured."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class KernelName:
    """Where a kernel comes from: a mechanism's file, or an importable module, and its name there."""

    place: str
    name: str
    is_file: bool


@dataclass(frozen=True, kw_only=True)
class TensorArg:
    """A tensor argument: elements of `dtype` (torch's name) in storage number `storage`; offset, shape and
    strides in elements.
    """

    storage: int
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int


@dataclass(frozen=True, kw_only=True)
class DtypeArg:
    """A `tl` dtype by its torch name."""

    name: str


ArgumentValue = TensorArg | DtypeArg | int | float | bool | str | None


@dataclass(frozen=True, kw_only=True)
class TapeLaunch:
    """One launch: arguments by parameter name, constexprs included; `storages` is how many tensors it may
    touch.
    """

    kernel: KernelName
    grid: tuple[int, int, int]
    arguments: tuple[tuple[str, ArgumentValue], ...]
    storages: int


@dataclass(frozen=True, kw_only=True)
class Contents:
    """The bytes that every storage of a launch starts from, and which of them anything has written."""

    data: tuple[Bytes, ...]
    written: tuple[Flags, ...]


class TapeWriter:
    """Collects launches into `folder`, which must be empty; `close` makes it a tape."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._launches: list[TapeLaunch] = []

    def add(self, launch: TapeLaunch, data: Sequence[Bytes], written: Sequence[Flags]) -> None:
        """One more launch, and the storages it starts from (uint8 and bool of equal lengths)."""
        if not len(data) == len(written) == launch.storages:
            raise ValueError(f"expected {launch.storages} storages, got {len(data)} and {len(written)}")
        arrays: dict[str, Any] = {f"data{index}": values for index, values in enumerate(data)}
        arrays |= {f"written{index}": np.packbits(flags) for index, flags in enumerate(written)}
        np.savez(self._folder / f"launch{len(self._launches):04}.npz", **arrays)
        self._launches.append(launch)

    def close(self) -> None:
        document = [_launch_to_json(launch) for launch in self._launches]
        (self._folder / "tape.json").write_text(json.dumps(document), encoding="utf-8")


class Tape:
    """A recorded workload in `folder`: its launches, in order."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        document = json.loads((folder / "tape.json").read_text(encoding="utf-8"))
        self.launches = tuple(_launch_from_json(item) for item in document)

    def contents(self, index: int) -> Contents:
        """What launch number `index` starts from; fresh arrays at every call."""
        with np.load(self._folder / f"launch{index:04}.npz") as held:
            count = self.launches[index].storages
            data = tuple(held[f"data{number}"] for number in range(count))
            flags = tuple(
                np.unpackbits(held[f"written{number}"], count=data[number].size).view(np.bool_)
                for number in range(count)
            )
        return Contents(data=data, written=flags)

    def __iter__(self) -> Iterator[tuple[TapeLaunch, Contents]]:
        for index, launch in enumerate(self.launches):
            yield launch, self.contents(index)


class Results:
    """What storages held after each launch of a run, in a file per launch: both sides leave one of these."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, index: int, data: Sequence[Bytes]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        np.savez(self._folder / f"after{index:04}.npz", *data)

    def load(self, index: int) -> tuple[Bytes, ...]:
        with np.load(self._folder / f"after{index:04}.npz") as held:
            return tuple(held[f"arr_{number}"] for number in range(len(held.files)))


def _value_to_json(value: ArgumentValue) -> Any:
    if isinstance(value, TensorArg):
        return {"tensor": asdict(value)}
    if isinstance(value, DtypeArg):
        return {"dtype": value.name}
    if isinstance(value, float):
        return {"float": value.hex()}
    return {"value": value}


def _value_from_json(data: Mapping[str, Any]) -> ArgumentValue:
    ((key, value),) = data.items()
    match key:
        case "tensor":
            return TensorArg(**{**value, "shape": tuple(value["shape"]), "strides": tuple(value["strides"])})
        case "dtype":
            return DtypeArg(name=value)
        case "float":
            return float.fromhex(value)
    plain: int | str | bool | None = value
    return plain


def _launch_to_json(launch: TapeLaunch) -> dict[str, Any]:
    return {
        "kernel": asdict(launch.kernel),
        "grid": list(launch.grid),
        "arguments": [[name, _value_to_json(value)] for name, value in launch.arguments],
        "storages": launch.storages,
    }


def _launch_from_json(data: Mapping[str, Any]) -> TapeLaunch:
    x, y, z = data["grid"]
    return TapeLaunch(
        kernel=KernelName(**data["kernel"]),
        grid=(x, y, z),
        arguments=tuple((name, _value_from_json(value)) for name, value in data["arguments"]),
        storages=data["storages"],
    )
