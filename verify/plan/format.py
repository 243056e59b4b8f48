"""The launch plan: buffers, fill and copy steps, kernel launches and results, as data.

A plan comes from a process that ran hostile Python, so `Plan.from_json` trusts nothing: every tensor must lie
inside its buffer, every kernel must exist, every count is bounded. Imports neither torch nor triton.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from verify.dtypes import FORMATS

MAX_STEPS = 4096
MAX_BUFFERS = 1024
MAX_BUFFER_BYTES = 1 << 34
MAX_RANK = 8
TRITON_DTYPES = {
    "float64": "fp64",
    "float32": "fp32",
    "float16": "fp16",
    "bfloat16": "bf16",
    "int8": "int8",
    "int16": "int16",
    "int32": "int32",
    "int64": "int64",
    "uint8": "uint8",
    "bool": "int1",
}


class PlanError(Exception):
    """A plan that does not keep the format; the message says where and what was expected."""


@dataclass(frozen=True, kw_only=True)
class TensorRef:
    """A strided view of a buffer. `shape`, `strides` and `offset` count elements of `dtype`."""

    buffer: int
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int

    @property
    def itemsize(self) -> int:
        return FORMATS[self.dtype].itemsize

    @property
    def numel(self) -> int:
        return math.prod(self.shape)

    @property
    def contiguous(self) -> bool:
        """True for the dense row-major layout; dimensions of size 1 may have any stride."""
        expected = 1
        for size, stride in zip(reversed(self.shape), reversed(self.strides), strict=True):
            if size != 1 and stride != expected:
                return False
            expected *= size
        return True

    def span(self) -> tuple[int, int]:
        """First and one-past-last byte touched in the buffer; equal when the tensor is empty."""
        if self.numel == 0:
            return (self.offset * self.itemsize, self.offset * self.itemsize)
        last = sum((size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True))
        return (self.offset * self.itemsize, (self.offset + last + 1) * self.itemsize)

    def to_json(self) -> dict[str, Any]:
        return {
            "buffer": self.buffer,
            "dtype": self.dtype,
            "shape": list(self.shape),
            "strides": list(self.strides),
            "offset": self.offset,
        }


@dataclass(frozen=True, kw_only=True)
class DtypeName:
    """A `tl` dtype passed as a constexpr, by its torch name."""

    name: str


Argument = TensorRef | DtypeName | int | float | bool | None


@dataclass(frozen=True, kw_only=True)
class BufferDecl:
    """One allocation. `argument` names what the caller supplies ("q", "S", "d_output", "d_S"); None is
    scratch.
    """

    nbytes: int
    argument: str | None
    label: str


@dataclass(frozen=True, kw_only=True)
class Fill:
    """Every element of `out` becomes `value`, rounded to its dtype."""

    out: TensorRef
    value: float
    line: int


@dataclass(frozen=True, kw_only=True)
class Copy:
    """Elementwise copy, converting the dtype by round-to-nearest-even; shapes are equal."""

    source: TensorRef
    out: TensorRef
    line: int


@dataclass(frozen=True, kw_only=True)
class Launch:
    """One kernel launch: arguments by parameter name, constexprs included."""

    kernel: str
    arguments: tuple[tuple[str, Argument], ...]
    grid: tuple[int, int, int]
    num_warps: int
    num_stages: int
    line: int

    @property
    def programs(self) -> int:
        return math.prod(self.grid)


Step = Fill | Copy | Launch


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`forward` then `backward`; results are in SPEC order. A gradient is None where it was not needed."""

    buffers: tuple[BufferDecl, ...]
    forward: tuple[Step, ...]
    output: TensorRef
    state: tuple[TensorRef, ...]
    residuals: tuple[TensorRef | float | int | bool | None, ...]
    backward: tuple[Step, ...]
    gradients: tuple[TensorRef | None, ...] | None

    @property
    def launches(self) -> tuple[Launch, ...]:
        return tuple(step for step in (*self.forward, *self.backward) if isinstance(step, Launch))

    def argument(self, name: str) -> int:
        """The id of the buffer that the caller fills with `name`."""
        for index, buffer in enumerate(self.buffers):
            if buffer.argument == name:
                return index
        raise KeyError(name)

    def results(self, states: Sequence[str], gradients: Sequence[str]) -> list[tuple[str, TensorRef]]:
        """(name, tensor) of every result: "output", the states by name, and "d_<name>" of the gradients that
        are there.
        """
        pairs = [("output", self.output), *zip(states, self.state, strict=True)]
        if self.gradients is not None:
            named = zip(gradients, self.gradients, strict=True)
            pairs += [(f"d_{name}", ref) for name, ref in named if ref is not None]
        return pairs

    def to_json(self) -> dict[str, Any]:
        return {
            "plan": 1,
            "buffers": [{"nbytes": b.nbytes, "argument": b.argument, "label": b.label} for b in self.buffers],
            "forward": [_step_to_json(step) for step in self.forward],
            "output": self.output.to_json(),
            "state": [ref.to_json() for ref in self.state],
            "residuals": [_value_to_json(value) for value in self.residuals],
            "backward": [_step_to_json(step) for step in self.backward],
            "gradients": None if self.gradients is None else [g and g.to_json() for g in self.gradients],
        }

    @classmethod
    def from_json(cls, data: Any, *, kernels: Sequence[str], arguments: Mapping[str, int]) -> Plan:
        """Check and build a plan from untrusted JSON.

        `kernels` are the names that may be launched; `arguments` maps each argument that the caller supplies
        to the byte size of its buffer. Raises PlanError.
        """
        reader = _Reader(kernels=frozenset(kernels), arguments=dict(arguments))
        return reader.plan(data)


def _value_to_json(value: Argument) -> Any:
    if isinstance(value, TensorRef):
        return {"tensor": value.to_json()}
    if isinstance(value, DtypeName):
        return {"dtype": value.name}
    if isinstance(value, float):
        return {"float": value.hex()}
    return {"value": value}


def _step_to_json(step: Step) -> dict[str, Any]:
    if isinstance(step, Fill):
        return {"op": "fill", "out": step.out.to_json(), "value": float(step.value).hex(), "line": step.line}
    if isinstance(step, Copy):
        return {"op": "copy", "source": step.source.to_json(), "out": step.out.to_json(), "line": step.line}
    return {
        "op": "launch",
        "kernel": step.kernel,
        "grid": list(step.grid),
        "num_warps": step.num_warps,
        "num_stages": step.num_stages,
        "line": step.line,
        "arguments": [[name, _value_to_json(value)] for name, value in step.arguments],
    }


@dataclass(kw_only=True)
class _Reader:
    """Checks while it reads; `sizes` fills up with the buffers' byte sizes."""

    kernels: frozenset[str]
    arguments: dict[str, int]
    sizes: tuple[int, ...] = ()

    def plan(self, data: Any) -> Plan:
        fields = self._fields(
            data,
            {
                "plan",
                "buffers",
                "forward",
                "output",
                "state",
                "residuals",
                "backward",
                "gradients",
            },
            "plan",
        )
        if fields["plan"] != 1:
            raise PlanError(f"plan version: expected 1, got {fields['plan']!r}")
        buffers = tuple(self._buffer(item) for item in self._list(fields["buffers"], MAX_BUFFERS, "buffers"))
        named = [buffer.argument for buffer in buffers if buffer.argument is not None]
        if sorted(named) != sorted(self.arguments):
            raise PlanError(f"plan arguments: expected {sorted(self.arguments)}, got {sorted(named)}")
        if sum(buffer.nbytes for buffer in buffers) > MAX_BUFFER_BYTES:
            raise PlanError(f"plan buffers: expected at most {MAX_BUFFER_BYTES} bytes in all")
        self.sizes = tuple(buffer.nbytes for buffer in buffers)
        gradients = fields["gradients"]
        return Plan(
            buffers=buffers,
            forward=self._steps(fields["forward"], "forward"),
            output=self._tensor(fields["output"], "output"),
            state=tuple(self._tensor(item, "state") for item in self._list(fields["state"], 16, "state")),
            residuals=tuple(
                self._residual(item) for item in self._list(fields["residuals"], 128, "residuals")
            ),
            backward=self._steps(fields["backward"], "backward"),
            gradients=None
            if gradients is None
            else tuple(
                None if item is None else self._tensor(item, "gradients")
                for item in self._list(gradients, 64, "gradients")
            ),
        )

    def _steps(self, data: Any, what: str) -> tuple[Step, ...]:
        return tuple(self._step(item) for item in self._list(data, MAX_STEPS, what))

    def _step(self, data: Any) -> Step:
        if not isinstance(data, dict):
            raise PlanError(f"step: expected an object, got {type(data).__name__}")
        match data.get("op"):
            case "fill":
                fields = self._fields(data, {"op", "out", "value", "line"}, "fill")
                return Fill(
                    out=self._tensor(fields["out"], "fill"),
                    value=_hex_float(fields["value"]),
                    line=_integer(fields["line"], 0, 1 << 20, "line"),
                )
            case "copy":
                fields = self._fields(data, {"op", "source", "out", "line"}, "copy")
                copy = Copy(
                    source=self._tensor(fields["source"], "copy"),
                    out=self._tensor(fields["out"], "copy"),
                    line=_integer(fields["line"], 0, 1 << 20, "line"),
                )
                if copy.source.shape != copy.out.shape:
                    raise PlanError(
                        f"copy: expected equal shapes, got {copy.source.shape} and {copy.out.shape}"
                    )
                return copy
            case "launch":
                return self._launch(data)
            case other:
                raise PlanError(f"step: expected fill, copy or launch, got {other!r}")

    def _launch(self, data: Any) -> Launch:
        fields = self._fields(
            data, {"op", "kernel", "grid", "num_warps", "num_stages", "line", "arguments"}, "launch"
        )
        kernel = fields["kernel"]
        if not isinstance(kernel, str) or kernel not in self.kernels:
            raise PlanError(f"launch: expected one of the kernels {sorted(self.kernels)}, got {kernel!r}")
        grid = tuple(
            _integer(size, 1, (1 << 31) - 1, "grid") for size in self._list(fields["grid"], 3, "grid")
        )
        if len(grid) != 3:
            raise PlanError(f"launch: expected a grid of 3 sizes, got {len(grid)}")
        arguments = []
        for pair in self._list(fields["arguments"], 128, "arguments"):
            if not (isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str)):
                raise PlanError("launch: expected arguments as [name, value] pairs")
            arguments.append((pair[0], self._value(pair[1])))
        if len({name for name, _ in arguments}) != len(arguments):
            raise PlanError(f"launch of {kernel}: an argument is given twice")
        return Launch(
            kernel=kernel,
            arguments=tuple(arguments),
            grid=(grid[0], grid[1], grid[2]),
            num_warps=_integer(fields["num_warps"], 1, 32, "num_warps"),
            num_stages=_integer(fields["num_stages"], 0, 16, "num_stages"),
            line=_integer(fields["line"], 0, 1 << 20, "line"),
        )

    def _value(self, data: Any) -> Argument:
        if not (isinstance(data, dict) and len(data) == 1):
            raise PlanError("argument: expected an object with one key: tensor, dtype, float or value")
        key, value = next(iter(data.items()))
        match key:
            case "tensor":
                return self._tensor(value, "argument")
            case "dtype" if isinstance(value, str) and value in TRITON_DTYPES:
                return DtypeName(name=value)
            case "float":
                return _hex_float(value)
            case "value" if value is None or isinstance(value, bool):
                return value
            case "value" if isinstance(value, int):
                return _integer(value, -(1 << 63), (1 << 63) - 1, "argument")
        raise PlanError(f"argument: {key!r} has no valid value")

    def _residual(self, data: Any) -> TensorRef | float | int | bool | None:
        value = self._value(data)
        if isinstance(value, DtypeName):
            raise PlanError("residuals: expected tensors and numbers, got a dtype")
        return value

    def _buffer(self, data: Any) -> BufferDecl:
        fields = self._fields(data, {"nbytes", "argument", "label"}, "buffer")
        argument, label = fields["argument"], fields["label"]
        nbytes = _integer(fields["nbytes"], 0, MAX_BUFFER_BYTES, "nbytes")
        if (
            not (argument is None or isinstance(argument, str))
            or not isinstance(label, str)
            or len(label) > 80
        ):
            raise PlanError("buffer: expected a name or null as argument, and a short label")
        if argument is not None and self.arguments.get(argument) != nbytes:
            raise PlanError(f"buffer {argument}: expected {self.arguments.get(argument)} bytes, got {nbytes}")
        return BufferDecl(nbytes=nbytes, argument=argument, label=label)

    def _tensor(self, data: Any, what: str) -> TensorRef:
        fields = self._fields(data, {"buffer", "dtype", "shape", "strides", "offset"}, what)
        if fields["dtype"] not in FORMATS:
            raise PlanError(f"{what}: expected a dtype of {sorted(FORMATS)}, got {fields['dtype']!r}")
        shape = self._list(fields["shape"], MAX_RANK, what)
        strides = self._list(fields["strides"], MAX_RANK, what)
        if len(shape) != len(strides):
            raise PlanError(f"{what}: expected as many strides as sizes, got {len(strides)} and {len(shape)}")
        ref = TensorRef(
            buffer=_integer(fields["buffer"], 0, len(self.sizes) - 1, what),
            dtype=fields["dtype"],
            shape=tuple(_integer(size, 0, 1 << 40, what) for size in shape),
            strides=tuple(_integer(stride, 0, 1 << 40, what) for stride in strides),
            offset=_integer(fields["offset"], 0, 1 << 40, what),
        )
        if ref.span()[1] > self.sizes[ref.buffer]:
            raise PlanError(
                f"{what}: the tensor ends at byte {ref.span()[1]} of a buffer of {self.sizes[ref.buffer]}"
            )
        return ref

    @staticmethod
    def _fields(data: Any, names: set[str], what: str) -> dict[str, Any]:
        if not isinstance(data, dict) or set(data) != names:
            got = sorted(data) if isinstance(data, dict) else type(data).__name__
            raise PlanError(f"{what}: expected the keys {sorted(names)}, got {got}")
        return data

    @staticmethod
    def _list(data: Any, limit: int, what: str) -> list[Any]:
        if not isinstance(data, list) or len(data) > limit:
            raise PlanError(f"{what}: expected a list of at most {limit} items")
        return data


def _integer(value: Any, low: int, high: int, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise PlanError(f"{what}: expected an integer from {low} to {high}, got {value!r}")
    return value


def _hex_float(value: Any) -> float:
    try:
        return float.fromhex(value)
    except (TypeError, ValueError):
        raise PlanError(f"float: expected C99 hexadecimal, got {value!r}") from None
