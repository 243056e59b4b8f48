"""tl.reduce and tl.associative_scan over whole axes at once.

A device combines in a tree, so these do too: log2(n) vectorised calls of the combine function, in an order
that keeps the operands in sequence. float32 sums use NumPy's pairwise sum; 16-bit sums round at every level
of the tree. NumPy adds in the order in which elements lie in memory, which tells how a block was made and
which programs made it with this one, so a block is laid out row by row first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from verify.triton_cpu import private
from verify.triton_cpu.interpreter import numerics
from verify.triton_cpu.interpreter.handles import Array, Handle, spanning
from verify.triton_cpu.memory.overflow import Exact

Combine = Callable[[list[Handle], list[Handle]], list[Handle]]
_STANDARD = private.standard


def _whole(name: str) -> Any:
    return getattr(_STANDARD, name, None)


def _reduction_ufuncs() -> dict[int, np.ufunc]:
    pairs: list[tuple[str, np.ufunc]] = [
        ("_elementwise_max", np.fmax),
        ("_elementwise_min", np.fmin),
        ("_xor_combine", np.bitwise_xor),
        ("_or_combine", np.bitwise_or),
    ]
    return {id(_whole(name)): ufunc for name, ufunc in pairs if _whole(name) is not None}


_UFUNCS = _reduction_ufuncs()
_ORDERED = {id(_whole(name)) for name in ("_elementwise_max", "_elementwise_min")}
_SUM = _whole("_sum_combine")
_PRODUCT = _whole("_prod_combine")
_ARGUMENTS: dict[int, Callable[..., Array]] = {
    id(_whole("_argmax_combine_tie_break_left")): np.argmax,
    id(_whole("_argmin_combine_tie_break_left")): np.argmin,
}


def _narrow(dtype: Any) -> bool:
    return dtype.name in ("bf16", "fp16")


def _index(rank: int, axis: int, part: slice) -> tuple[slice, ...]:
    return (slice(None),) * axis + (part,) + (slice(None),) * (rank - axis - 1)


def _tree(handles: list[Handle], axis: int, combine: Combine) -> list[Handle]:
    """Neighbours first, so that the order of the operands is kept; a block's sides are powers of two."""
    rank = handles[0].data.ndim
    even, odd = _index(rank, axis, slice(0, None, 2)), _index(rank, axis, slice(1, None, 2))
    while handles[0].data.shape[axis] > 1:
        handles = combine(
            [Handle(h.data[even], h.dtype) for h in handles], [Handle(h.data[odd], h.dtype) for h in handles]
        )
    return handles


def _sum_tree(data: Array, axis: int, dtype: Any) -> Array:
    """Sum of a 16-bit float type with a rounding after each level."""

    def add(left: list[Handle], right: list[Handle]) -> list[Handle]:
        total = left[0].data + right[0].data
        return [Handle(numerics.round_bfloat16(total) if dtype.name == "bf16" else total, dtype)]

    return _tree([Handle(data, dtype)], axis, add)[0].data


def follow_reduction(exact: Exact, function: Any, axis: int, before: Array, after: Array) -> None:
    """Let `exact` see what a reduction along `axis` made of integers."""
    if function is _SUM:
        exact.total(lambda values: np.add.reduce(values, axis=axis), before, after)
    elif id(function) in _ORDERED:
        exact.follow(lambda values: _UFUNCS[id(function)].reduce(values, axis=axis), after, before)


def follow_scan(
    exact: Exact, function: Any, axis: int, before: Array, after: Array, *, reverse: bool
) -> None:
    """The same for a scan."""
    if function is _SUM and reverse:
        exact.total(lambda values: np.cumsum(np.flip(values, axis), axis=axis), before, np.flip(after, axis))
    elif function is _SUM:
        exact.total(lambda values: np.cumsum(values, axis=axis), before, after)


def reduce_handles(handles: list[Handle], axis: int, function: Any, combine: Combine) -> list[Handle]:
    """Reduce along `axis` of the data, whose axis 0 is that of the programs.

    `function` is the jit function (recognised for speed), `combine` applies it to blocks.
    """
    key = id(function)
    first = handles[0]
    if len(handles) == 1:
        if function is _SUM:
            total = (
                _sum_tree(first.data, axis, first.dtype).squeeze(axis)
                if _narrow(first.dtype)
                else np.add.reduce(np.ascontiguousarray(first.data), axis=axis, dtype=first.data.dtype)
            )
            return [Handle(np.asarray(total), first.dtype)]
        ufunc = _UFUNCS.get(key)
        if ufunc is not None:
            best = ufunc.reduce(np.ascontiguousarray(first.data), axis=axis)
            return [Handle(np.asarray(best), first.dtype)]
    elif key in _ARGUMENTS and not (first.data.dtype.kind == "f" and np.isnan(first.data).any()):
        pick = _ARGUMENTS[key]
        at = np.expand_dims(pick(first.data, axis=axis), axis)
        values, places = spanning(at, handles[1].data)
        index = np.take_along_axis(places, values, axis=axis)
        most = np.take_along_axis(first.data, at, axis=axis)  # of two zeros that of this index
        return [Handle(most.squeeze(axis), first.dtype), Handle(index.squeeze(axis), handles[1].dtype)]
    return [Handle(h.data.squeeze(axis), h.dtype) for h in _tree(handles, axis, combine)]


def _doubling(handles: list[Handle], axis: int, combine: Combine) -> list[Handle]:
    """Every lane takes in the lane `step` before it, for step = 1, 2, 4, ...; blocks keep their shape
    throughout.
    """
    handles = [Handle(d, h.dtype) for d, h in zip(spanning(*(h.data for h in handles)), handles, strict=True)]
    rank, length = handles[0].data.ndim, handles[0].data.shape[axis]
    lanes = np.arange(length).reshape((length,) + (1,) * (rank - axis - 1))
    step = 1
    while step < length:
        merged = combine([Handle(np.roll(h.data, step, axis), h.dtype) for h in handles], handles)
        handles = [
            Handle(np.where(lanes >= step, m.data, h.data), h.dtype)
            for h, m in zip(handles, merged, strict=True)
        ]
        step *= 2
    return handles


def scan_handles(
    handles: list[Handle], axis: int, function: Any, combine: Combine, *, reverse: bool
) -> list[Handle]:
    """Inclusive scan along `axis`, from the end when `reverse`."""
    if reverse:
        handles = [Handle(np.flip(h.data, axis), h.dtype) for h in handles]
    first = handles[0]
    plain = len(handles) == 1 and not _narrow(first.dtype)
    if plain and function is _SUM:
        result = [Handle(np.cumsum(first.data, axis=axis, dtype=first.data.dtype), first.dtype)]
    elif plain and function is _PRODUCT:
        result = [Handle(np.cumprod(first.data, axis=axis, dtype=first.data.dtype), first.dtype)]
    else:
        result = _doubling(handles, axis, combine)
    return [Handle(np.flip(h.data, axis), h.dtype) for h in result] if reverse else result


def checked_axis(axis: Any, rank: int) -> int:
    """A non-negative axis; raises ValueError where Triton's compiler would."""
    if not isinstance(axis, int) or not -rank <= axis < rank:
        raise ValueError(f"expected an axis in [{-rank}, {rank}), got {axis}")
    return axis % rank


def shapes_agree(shapes: Sequence[tuple[int, ...]]) -> bool:
    """Whether all inputs of a reduction have one shape."""
    return len(set(shapes)) == 1
