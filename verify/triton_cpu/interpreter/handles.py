"""What a value is while a kernel runs: a NumPy array, a Triton type, and for pointers the buffer it points
into.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from verify.triton_cpu.interpreter import numerics
from verify.triton_cpu.memory.arena import Buffer
from verify.triton_cpu.private import tl

Array = npt.NDArray[Any]


class Handle:
    """An IR value of every program of the running group; `dtype` is a scalar or pointer type.

    `data` has the shape (p, *block), (p,) for a scalar: p is the number of programs, or 1 where they all hold
    the same. bfloat16 is held as float32, float8 as its bits, int1 as bool, pointers as int64 virtual
    addresses.
    """

    __slots__ = ("buffer", "data", "dtype")

    def __init__(self, data: Array, dtype: Any, buffer: Buffer | None = None) -> None:
        self.data = data
        self.dtype = dtype
        self.buffer = buffer

    def get_element_ty(self) -> Any:
        """The type behind all pointers."""
        dtype = self.dtype
        while hasattr(dtype, "element_ty"):
            dtype = dtype.element_ty
        return dtype


def _same(array: Array) -> Array:
    return array


@dataclass(frozen=True, kw_only=True)
class Format:
    """How one scalar type lies in memory (`raw`), in a handle (`compute`), and what a refused load returns
    (`poison`).
    """

    raw: np.dtype[Any]
    compute: np.dtype[Any]
    poison: Any
    decode: Callable[[Array], Array] = _same
    encode: Callable[[Array], Array] = _same


def _float8(name: str) -> Format:
    return Format(
        raw=np.dtype(np.uint8), compute=np.dtype(np.uint8), poison=0x7F if name != "fp8e4b8" else 0x80
    )


def _plain(dtype: Any, poison: Any) -> Format:
    return Format(raw=np.dtype(dtype), compute=np.dtype(dtype), poison=poison)


_INTEGERS = {
    f"{sign}int{bits}": np.dtype(f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64)
}
FORMATS: dict[str, Format] = {
    "int1": Format(
        raw=np.dtype(np.uint8),
        compute=np.dtype(np.bool_),
        poison=1,
        decode=lambda bits: bits != 0,
        encode=lambda flags: flags.astype(np.uint8),
    ),
    "fp16": _plain(np.float16, np.nan),
    "fp32": _plain(np.float32, np.nan),
    "fp64": _plain(np.float64, np.nan),
    "bf16": Format(
        raw=np.dtype(np.uint16),
        compute=np.dtype(np.float32),
        poison=0x7FC0,
        decode=numerics.from_bfloat16_bits,
        encode=numerics.bfloat16_bits,
    ),
    **{name: _float8(name) for name in ("fp8e4nv", "fp8e5", "fp8e4b8", "fp8e5b16", "fp8e4b15")},
    **{name: _plain(dtype, 0x5A) for name, dtype in _INTEGERS.items()},
}
ADDRESS = _plain(np.int64, 0)


def format_of(dtype: Any) -> Format:
    """The format of a scalar, pointer or block type; KeyError for a type that no kernel can hold."""
    scalar = dtype.scalar
    return ADDRESS if scalar.is_ptr() else FORMATS[scalar.name]


TYPES: dict[str, Any] = {
    "float16": tl.float16,
    "bfloat16": tl.bfloat16,
    "float32": tl.float32,
    "float64": tl.float64,
    "bool": tl.int1,
    "int1": tl.int1,
    "int8": tl.int8,
    "int16": tl.int16,
    "int32": tl.int32,
    "int64": tl.int64,
    "uint8": tl.uint8,
    "uint16": tl.uint16,
    "uint32": tl.uint32,
    "uint64": tl.uint64,
    "float8_e4m3fn": tl.float8e4nv,
    "float8_e5m2": tl.float8e5,
    "float8e4nv": tl.float8e4nv,
    "float8e5": tl.float8e5,
}


def spread(data: Array, shape: Sequence[int]) -> Array:
    """`data` (p, ...) broadcast to (p, *shape) as a view; NumPy's own broadcast_to costs several times as
    much.
    """
    programs = data.shape[0]
    target = (programs, *shape)
    if data.shape == target:
        return data
    if data.ndim == 1 or data.size == programs:
        column = data if data.ndim == 1 else data.reshape(programs)
        return np.ndarray(target, data.dtype, column, 0, (column.strides[0], *(0,) * (len(target) - 1)))
    if data.ndim == len(target) and data.flags.c_contiguous:
        strides = tuple(0 if n == 1 else step for n, step in zip(data.shape, data.strides, strict=True))
        if all(n in (1, m) for n, m in zip(data.shape, target, strict=True)):
            return np.ndarray(target, data.dtype, data, 0, strides)
    return np.broadcast_to(data, target)


def collapsed(data: Array) -> Array:
    """A splat as one element for each program, (p, 1, ...), anything else unchanged."""
    if data.ndim > 1 and data.size and not any(data.strides[1:]):
        return data[(slice(None), *(slice(0, 1),) * (data.ndim - 1))]
    return data


def spanning(*arrays: Array) -> list[Array]:
    """Arrays of shape (1 or p, ...) with one leading axis: that of the longest."""
    programs = max(array.shape[0] for array in arrays)
    return [
        array if array.shape[0] == programs else np.broadcast_to(array, (programs, *array.shape[1:]))
        for array in arrays
    ]


class BlockPointer:
    """A block of shape `block_shape` at `offsets` of a tensor at `base` (the value behind
    tl.make_block_ptr).
    """

    __slots__ = ("base", "block_shape", "offsets", "shape", "strides")

    def __init__(
        self,
        base: Handle,
        shape: Sequence[Handle],
        strides: Sequence[Handle],
        offsets: Sequence[Handle],
        block_shape: Sequence[int],
    ) -> None:
        self.base = base
        self.shape = list(shape)
        self.strides = list(strides)
        self.offsets = list(offsets)
        self.block_shape = list(block_shape)

    def advanced(self, steps: Sequence[Handle]) -> BlockPointer:
        """The same block moved by `steps` elements in each dimension."""
        if len(steps) != len(self.offsets):
            raise ValueError(f"expected {len(self.offsets)} steps to advance by, got {len(steps)}")
        moved = [Handle(at.data + step.data, at.dtype) for at, step in zip(self.offsets, steps, strict=True)]
        return BlockPointer(self.base, self.shape, self.strides, moved, self.block_shape)

    def pointers(self, checked: Sequence[int]) -> tuple[Handle, Array | None]:
        """Addresses of the block, and the mask of lanes inside the tensor along the `checked` dimensions."""
        return _block_addresses(self.base, self.shape, self.strides, self.offsets, self.block_shape, checked)


class Descriptor:
    """A tensor of `shape` and `strides` at `base`, read and written in blocks (the value behind a tensor
    descriptor).
    """

    __slots__ = ("base", "block_shape", "nan", "shape", "strides", "tf32")

    def __init__(
        self,
        base: Handle,
        shape: Sequence[Handle],
        strides: Sequence[Handle],
        block_shape: Sequence[int],
        *,
        nan: bool,
        tf32: bool = False,
    ) -> None:
        self.base = base
        self.shape = list(shape)
        self.strides = list(strides)
        self.block_shape = list(block_shape)
        self.nan = nan
        self.tf32 = tf32
        self._validate()

    def _validate(self) -> None:
        itemsize = format_of(self.base.get_element_ty()).raw.itemsize
        if (self.base.data % 16).any():
            raise ValueError("expected a descriptor's base to be a multiple of 16 bytes")
        for stride in self.strides[:-1]:
            steps = stride.data.astype(np.int64) * itemsize
            if (steps % 16).any():
                raise ValueError(
                    f"expected a descriptor's strides to be multiples of 16 bytes, got {int(steps[0])}"
                )
        if (self.strides[-1].data != 1).any():
            raise ValueError(
                f"expected a descriptor's last stride to be 1, got {int(self.strides[-1].data[0])}"
            )

    def pointers(self, offsets: Sequence[Handle]) -> tuple[Handle, Array | None]:
        """Addresses of the block at `offsets`, and the mask of lanes inside the tensor."""
        every = range(len(self.block_shape))
        return _block_addresses(self.base, self.shape, self.strides, list(offsets), self.block_shape, every)


def _block_addresses(
    base: Handle,
    shape: Sequence[Handle],
    strides: Sequence[Handle],
    offsets: Sequence[Handle],
    block_shape: Sequence[int],
    checked: Sequence[int],
) -> tuple[Handle, Array | None]:
    itemsize = np.int64(format_of(base.get_element_ty()).raw.itemsize)
    rank = len(block_shape)

    def column(data: Array) -> Array:
        return data.reshape((-1,) + (1,) * rank)

    addresses: Array = column(base.data)
    mask: Array | None = None
    for axis in range(rank):
        lanes = np.arange(block_shape[axis], dtype=np.int64).reshape(
            (1,) * (axis + 1) + (-1,) + (1,) * (rank - axis - 1)
        )
        at = column(offsets[axis].data.astype(np.int64)) + lanes
        addresses = addresses + at * (column(strides[axis].data.astype(np.int64)) * itemsize)
        if axis in checked:
            inside = (at >= 0) & (at < column(shape[axis].data))
            mask = inside if mask is None else mask & inside
    if mask is not None:
        mask = np.broadcast_to(mask, (mask.shape[0], *block_shape))
    return Handle(addresses, base.dtype, base.buffer), mask
