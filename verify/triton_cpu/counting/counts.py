"""What a launch was counted to do: per program, per argument and in all. Data only: no torch, no triton.

Bytes are those of the lanes that an access leaves unmasked. A sector is 32 bytes at a multiple of 32, the
least that a cache moves; an access counts each sector once, however its lanes are spread over warps, so no
device can move fewer. An atomic is a load and a store.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

SECTOR_BYTES = 32
_MOST = 1e24


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Work and traffic. All counts are totals over what they are counted of; none is a rate.

    `unique_loaded` and `unique_stored` are bytes that were touched at least once; `fetched_sectors` and
    `flushed_sectors` the distinct sectors of each program's loads and stores, added up over programs.
    `dot_flops` is by the type of the operands ("bf16", "tf32", "fp32", ...), 2 for a multiplication and
    addition; `fp32_flops` are additions, multiplications, comparisons and the like on floats of any width
    outside of dots; `special_ops` are exponentials, logarithms, roots and their kind.
    """

    loads: float = 0
    stores: float = 0
    bytes_loaded: float = 0
    bytes_stored: float = 0
    unique_loaded: float = 0
    unique_stored: float = 0
    sectors_loaded: float = 0
    sectors_stored: float = 0
    fetched_sectors: float = 0
    flushed_sectors: float = 0
    dot_flops: Mapping[str, float] = field(default_factory=dict)
    fp32_flops: float = 0
    special_ops: float = 0
    loop_steps: float = 0

    @property
    def flops(self) -> float:
        """Every floating-point operation: dots, elementwise, and one for each special function."""
        return sum(self.dot_flops.values()) + self.fp32_flops + self.special_ops

    @property
    def unique_bytes(self) -> float:
        """What must come from memory and what must go there, each once."""
        return self.unique_loaded + self.unique_stored

    @property
    def intensity(self) -> float:
        """FLOPs for each byte that moves between the device and its memory; 0 where nothing moves."""
        return self.flops / self.unique_bytes if self.unique_bytes else 0.0

    @classmethod
    def total(cls, parts: Sequence[tuple[Counts, float]]) -> Counts:
        """The weighted sum of counts."""
        sums = {name: math.fsum(weight * getattr(part, name) for part, weight in parts) for name in _NUMBERS}
        types = sorted({name for part, _ in parts for name in part.dot_flops})
        dots = {
            name: math.fsum(weight * part.dot_flops.get(name, 0) for part, weight in parts) for name in types
        }
        return cls(dot_flops=dots, **sums)

    def rounded(self) -> Counts:
        """The same in whole numbers."""
        dots = {name: round(value) for name, value in self.dot_flops.items()}
        return Counts(dot_flops=dots, **{name: round(getattr(self, name)) for name in _NUMBERS})

    @classmethod
    def from_json(cls, data: Any) -> Counts:
        """Read from untrusted JSON. Raises ValueError for anything but counts."""
        if not isinstance(data, dict) or set(data) != {*_NUMBERS, "dot_flops"}:
            raise ValueError(f"counts: expected {sorted(_NUMBERS)} and dot_flops")
        dots = data["dot_flops"]
        if not isinstance(dots, dict) or len(dots) > 32:
            raise ValueError("dot_flops: expected counts by operand type")
        return cls(
            dot_flops={str(name)[:32]: _count(value) for name, value in dots.items()},
            **{name: _count(data[name]) for name in _NUMBERS},
        )


_NUMBERS = tuple(item.name for item in fields(Counts) if item.name != "dot_flops")


@dataclass(frozen=True, kw_only=True)
class ProgramCounts:
    """One program (x, y, z); `weight` is how many programs of the grid it stands for."""

    program: tuple[int, int, int]
    weight: float
    counts: Counts


@dataclass(frozen=True, kw_only=True)
class ArgumentCounts:
    """One tensor argument: the bytes that its view covers, and how many of them were touched, in bytes."""

    name: str
    view_bytes: int
    bytes_loaded: float
    bytes_stored: float
    unique_loaded: float
    unique_stored: float


@dataclass(frozen=True, kw_only=True)
class Violation:
    """A memory violation that a counted program met: its kind as the memory reports it, and where."""

    kind: str
    line: int
    message: str


@dataclass(frozen=True, kw_only=True)
class LaunchCounts:
    """One launch of `grid` programs, `sampled` of which were run; exact where `complete`.

    Otherwise sums are estimates, see `verify.triton_cpu.counting.sampling`, and unique bytes an estimate from
    above: the smaller of what the programs touch, added up, and the box around it.
    """

    kernel: str
    grid: tuple[int, int, int]
    sampled: int
    complete: bool
    counts: Counts
    arguments: tuple[ArgumentCounts, ...]
    programs: tuple[ProgramCounts, ...]
    violations: tuple[Violation, ...] = ()

    @property
    def size(self) -> int:
        return math.prod(self.grid)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Any) -> LaunchCounts:
        """Read what a worker answered. Raises ValueError where it is not a launch's counts."""
        if not isinstance(data, dict) or set(data) != {item.name for item in fields(cls)}:
            raise ValueError("launch: expected the fields of LaunchCounts")
        return cls(
            kernel=_text(data["kernel"]),
            grid=_triple(data["grid"]),
            sampled=int(_count(data["sampled"])),
            complete=bool(data["complete"]),
            counts=Counts.from_json(data["counts"]),
            arguments=tuple(_argument(item) for item in _sequence(data["arguments"])),
            programs=tuple(
                ProgramCounts(
                    program=_triple(item["program"]),
                    weight=_count(item["weight"]),
                    counts=Counts.from_json(item["counts"]),
                )
                for item in _sequence(data["programs"])
            ),
            violations=tuple(
                Violation(
                    kind=_text(item["kind"]), line=int(_count(item["line"])), message=_text(item["message"])
                )
                for item in _sequence(data["violations"])
            ),
        )


def _argument(data: Any) -> ArgumentCounts:
    names = {item.name for item in fields(ArgumentCounts)}
    if not isinstance(data, dict) or set(data) != names:
        raise ValueError("argument: expected the fields of ArgumentCounts")
    numbers = {name: _count(data[name]) for name in names - {"name", "view_bytes"}}
    return ArgumentCounts(name=_text(data["name"]), view_bytes=int(_count(data["view_bytes"])), **numbers)


def _count(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _MOST:
        raise ValueError(f"expected a count, got {str(value)[:40]!r}")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected text, got {type(value).__name__}")  # noqa: TRY004  JSON, not a caller
    return value[:400]


def _sequence(value: Any) -> list[Any] | tuple[Any, ...]:
    if not isinstance(value, list | tuple) or len(value) > 1 << 16:
        raise ValueError(f"expected a list, got {type(value).__name__}")
    return value


def _triple(value: Any) -> tuple[int, int, int]:
    x, y, z = (int(_count(part)) for part in _sequence(value))
    return x, y, z
