"""What the compiler is asked for: one kernel with the types and constants of a launch, without its grid.

Launches that compile to the same code are one specialisation. It is data that the judge keeps and sends, so
this module imports neither torch nor Triton.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from verify.plan.format import Argument, DtypeName, Launch, TensorRef


@dataclass(frozen=True, kw_only=True)
class Pointer:
    """A tensor as the compiler sees it: element type, and whether its address is a multiple of 16."""

    dtype: str
    divisible16: bool


Value = Pointer | DtypeName | int | float | bool | None


@dataclass(frozen=True, kw_only=True)
class Specialisation:
    """One kernel to compile: arguments by parameter name, constexprs included."""

    kernel: str
    arguments: tuple[tuple[str, Value], ...]
    num_warps: int
    num_stages: int

    def to_json(self) -> dict[str, Any]:
        """As the compile worker reads it."""
        return {
            "kernel": self.kernel,
            "arguments": [[name, _to_json(value)] for name, value in self.arguments],
            "num_warps": self.num_warps,
            "num_stages": self.num_stages,
        }

    @classmethod
    def from_json(cls, data: Any) -> Specialisation:
        """What `to_json` wrote; KeyError or TypeError for anything else."""
        return cls(
            kernel=data["kernel"],
            arguments=tuple((name, _from_json(value)) for name, value in data["arguments"]),
            num_warps=data["num_warps"],
            num_stages=data["num_stages"],
        )


@dataclass(frozen=True, kw_only=True)
class Specialised:
    """A specialisation, the line of the first launch that has it, and how many have it."""

    specialisation: Specialisation
    line: int
    launches: int


def specialise(launches: Sequence[Launch]) -> list[Specialised]:
    """Each specialisation once, in the order of its first launch."""
    found: dict[str, Specialised] = {}
    for launch in launches:
        one = Specialisation(
            kernel=launch.kernel,
            arguments=tuple((name, _value(value)) for name, value in launch.arguments),
            num_warps=launch.num_warps,
            num_stages=launch.num_stages,
        )
        key = json.dumps(one.to_json())  # True equals 1 and 1.0 in Python, not for the compiler
        known = found.setdefault(key, Specialised(specialisation=one, line=launch.line, launches=0))
        found[key] = replace(known, launches=known.launches + 1)
    return list(found.values())


def _value(value: Argument) -> Value:
    if isinstance(value, TensorRef):
        return Pointer(dtype=value.dtype, divisible16=value.offset * value.itemsize % 16 == 0)
    return value


def _to_json(value: Value) -> dict[str, Any]:
    if isinstance(value, Pointer):
        return {"pointer": value.dtype, "divisible16": value.divisible16}
    if isinstance(value, DtypeName):
        return {"dtype": value.name}
    return {"float": value.hex()} if isinstance(value, float) else {"value": value}


def _from_json(data: Any) -> Value:
    if "pointer" in data:
        return Pointer(dtype=data["pointer"], divisible16=data["divisible16"])
    if "dtype" in data:
        return DtypeName(name=data["dtype"])
    if "float" in data:
        return float.fromhex(data["float"])
    value: int | bool | None = data["value"]
    return value
