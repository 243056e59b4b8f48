"""What a wrapper is traced for: the shapes, strides and dtypes of every tensor that it will be given. No
data.

Imports neither torch nor triton; the judge builds requests, the confined tracer reads them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from verify.dtypes import FORMATS


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How one argument lies in its buffer: sizes, strides and offset in elements, and the buffer's whole
    length.
    """

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    dtype: str
    length: int

    @property
    def nbytes(self) -> int:
        return self.length * FORMATS[self.dtype].itemsize

    @classmethod
    def dense(cls, shape: Sequence[int], dtype: str) -> Layout:
        """Row-major, offset 0, nothing before or after."""
        return cls(
            shape=tuple(shape), strides=dense_strides(shape), offset=0, dtype=dtype, length=math.prod(shape)
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "shape": list(self.shape),
            "strides": list(self.strides),
            "offset": self.offset,
            "dtype": self.dtype,
            "length": self.length,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Layout:
        return cls(
            shape=tuple(data["shape"]),
            strides=tuple(data["strides"]),
            offset=data["offset"],
            dtype=data["dtype"],
            length=data["length"],
        )


def dense_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Row-major strides in elements, as torch gives them (sizes of 0 count as 1)."""
    strides: list[int] = []
    step = 1
    for size in reversed(tuple(shape)):
        strides.append(step)
        step *= max(1, size)
    return tuple(reversed(strides))


@dataclass(frozen=True, kw_only=True)
class TraceRequest:
    """One call of `forward` and, if `needs` is not None, of `backward` after it.

    `inputs`, `params` and `state` are (name, layout) in SPEC order; `d_output` and `d_state` are the
    cotangents' layouts. `needs` has one bool per input, param and state.
    """

    inputs: tuple[tuple[str, Layout], ...]
    params: tuple[tuple[str, Layout], ...]
    state: tuple[tuple[str, Layout], ...]
    d_output: Layout
    d_state: tuple[Layout, ...]
    needs: tuple[bool, ...] | None
    tuning: Mapping[str, int]
    constants: Mapping[str, int | float]

    @property
    def arguments(self) -> dict[str, Layout]:
        """Every tensor that the caller supplies, by its name in the plan; cotangents are `d_output`,
        `d_<state>`.
        """
        named = dict((*self.inputs, *self.params, *self.state))
        if self.needs is not None:
            named["d_output"] = self.d_output
            for (name, _), layout in zip(self.state, self.d_state, strict=True):
                named[f"d_{name}"] = layout
        return named

    def to_json(self) -> dict[str, Any]:
        return {
            "inputs": [[name, layout.to_json()] for name, layout in self.inputs],
            "params": [[name, layout.to_json()] for name, layout in self.params],
            "state": [[name, layout.to_json()] for name, layout in self.state],
            "d_output": self.d_output.to_json(),
            "d_state": [layout.to_json() for layout in self.d_state],
            "needs": None if self.needs is None else list(self.needs),
            "tuning": dict(self.tuning),
            "constants": dict(self.constants),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TraceRequest:
        def named(items: Sequence[Any]) -> tuple[tuple[str, Layout], ...]:
            return tuple((name, Layout.from_json(layout)) for name, layout in items)

        return cls(
            inputs=named(data["inputs"]),
            params=named(data["params"]),
            state=named(data["state"]),
            d_output=Layout.from_json(data["d_output"]),
            d_state=tuple(Layout.from_json(layout) for layout in data["d_state"]),
            needs=None if data["needs"] is None else tuple(bool(need) for need in data["needs"]),
            tuning=data["tuning"],
            constants=data["constants"],
        )
