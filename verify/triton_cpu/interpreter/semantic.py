"""Triton's typing rules, with short cuts for the cases that fill a kernel.

Every short cut returns what Triton's own rule returns for the same operands; anything unusual goes to that
rule. Block types are interned for the length of the process, so that "same type" is an identity test.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from verify.triton_cpu import private
from verify.triton_cpu.interpreter.builder import Builder
from verify.triton_cpu.interpreter.handles import FORMATS, Handle, spread
from verify.triton_cpu.interpreter.numerics import round_bfloat16
from verify.triton_cpu.private import core, tl

_MOST_TYPES = 4096
_FLOATS = frozenset({"fp16", "bf16", "fp32", "fp64"})
_HALVES = frozenset({"fp16", "bf16"})
_INTEGER_RANGE = {
    f"{sign}int{bits}": (0 if sign else -(2 ** (bits - 1)), 2 ** (bits if sign else bits - 1) - 1)
    for sign in ("", "u")
    for bits in (8, 16, 32, 64)
}
SCALARS = (
    tl.int1,
    tl.int8,
    tl.int16,
    tl.int32,
    tl.int64,
    tl.uint8,
    tl.uint16,
    tl.uint32,
    tl.uint64,
    tl.float16,
    tl.bfloat16,
    tl.float32,
    tl.float64,
)
_BLOCK: type = core.block_type
_POINTER: type = core.pointer_type
_EVERYTHING = slice(None)


class BlockTypes:
    """One object per (element type, shape), and what a tensor of it says about its shape."""

    def __init__(self) -> None:
        self._types: dict[tuple[str, int, tuple[int, ...]], Any] = {}
        self.facts: dict[int, tuple[Any, Any, Any]] = {}
        """id of an interned type -> (its `shape`, its `numel`, its scalar type), as Triton's tensors show
        them.
        """
        self._learn_scalars()

    def _learn_scalars(self) -> None:
        for kind in SCALARS:
            model = core.tensor(None, kind)
            self.facts[id(kind)] = (model.shape, model.numel, model.dtype)

    def block(self, element: Any, shape: tuple[int, ...]) -> Any:
        """The block type of `element` and `shape`; Triton checks the shape when it is made."""
        key = (element.name, getattr(element, "address_space", 0), shape)
        found = self._types.get(key)
        if found is None:
            if len(self._types) >= _MOST_TYPES:
                self._types.clear()
                self.facts.clear()
                self._learn_scalars()
            found = self._types[key] = _BLOCK(element, list(shape))
            model = core.tensor(None, found)
            self.facts[id(found)] = (model.shape, model.numel, model.dtype)
        return found

    def initialiser(self) -> Callable[[Any, Any, Any], None]:
        """A replacement for the constructor of Triton's tensors that looks shapes up."""
        facts, original = self.facts, core.tensor.__init__

        def initialise(tensor: Any, handle: Any, kind: Any) -> None:
            known = facts.get(id(kind))
            if known is None:
                original(tensor, handle, kind)
            else:
                tensor.handle = handle
                tensor.type = kind
                tensor.shape, tensor.numel, tensor.dtype = known

        return initialise


class Semantic(private.TritonSemantic):
    """Triton's rules over our builder."""

    def __init__(self, builder: Builder) -> None:
        super().__init__(builder)
        self.types = BlockTypes()
        self._ranges: dict[tuple[int, int], Any] = {}  # no value changes in place, so they are shared

    # -- operands --------------------------------------------------------------------------------------------

    def _constant(self, value: Any, dtype: Any) -> Any:
        """A scalar tensor of a Python number in a float type or an integer type that holds it; else None."""
        name = dtype.name
        kind = type(value)
        if name in _FLOATS and kind in (float, int):
            data = np.array([value], FORMATS[name].compute)
            return core.tensor(Handle(round_bfloat16(data) if name == "bf16" else data, dtype), dtype)
        if kind is int and name in _INTEGER_RANGE:
            low, high = _INTEGER_RANGE[name]
            if low <= value <= high:
                return core.tensor(Handle(np.array([value], FORMATS[name].compute), dtype), dtype)
        return None

    def binary_op_type_checking_impl(
        self,
        lhs: Any,
        rhs: Any,
        allow_lhs_ptr: bool = False,
        allow_rhs_ptr: bool = False,
        arithmetic_check: bool = True,
        div_or_mod: bool = False,
    ) -> tuple[Any, Any]:
        left, right = isinstance(lhs, core.tensor), isinstance(rhs, core.tensor)
        if left and right:
            mine, other = lhs.dtype, rhs.dtype
            if mine is other:
                plain = type(mine) is not _POINTER and not (div_or_mod and mine.name in _HALVES)
            else:
                plain = (allow_lhs_ptr and type(mine) is _POINTER and other.name in _INTEGER_RANGE) or (
                    allow_rhs_ptr and type(other) is _POINTER and mine.name in _INTEGER_RANGE
                )
                if not plain and arithmetic_check:
                    if mine is tl.float32 and other.name in _HALVES:
                        rhs, plain = self.cast(rhs, tl.float32), True
                    elif other is tl.float32 and mine.name in _HALVES:
                        lhs, plain = self.cast(lhs, tl.float32), True
            if plain:
                return self.broadcast_impl_value(lhs, rhs)
        elif arithmetic_check and (left or right):
            tensor, number = (lhs, rhs) if left else (rhs, lhs)
            dtype = tensor.dtype
            if type(dtype) is not _POINTER and not (div_or_mod and dtype.name in _HALVES):
                constant = self._constant(number, dtype)
                if constant is not None:
                    pair = (tensor, constant) if left else (constant, tensor)
                    return self.broadcast_impl_value(*pair)
        checked: tuple[Any, Any] = super().binary_op_type_checking_impl(
            lhs, rhs, allow_lhs_ptr, allow_rhs_ptr, arithmetic_check, div_or_mod
        )
        return checked

    def _bool_like(self, value: Any) -> Any:
        shape = value.handle.data.shape[1:]
        return self.types.block(tl.int1, shape) if type(value.type) is _BLOCK else tl.int1

    def cast(self, value: Any, target: Any, rounding: Any = None) -> Any:
        if rounding is not None:
            return super().cast(value, target, rounding)
        source, scalar = value.dtype, target.scalar
        if scalar is source:
            return value
        if scalar.name in _FLOATS and source.name in _FLOATS:
            handle = self.builder.cast_impl(value.handle, scalar)
        elif scalar.name in _INTEGER_RANGE and source.name in _INTEGER_RANGE:
            handle = self.builder.create_int_cast(value.handle, scalar, source.is_int_signed())
        else:
            return super().cast(value, target, rounding)
        block = type(value.type) is _BLOCK
        return core.tensor(handle, self.types.block(scalar, value.handle.data.shape[1:]) if block else scalar)

    # -- shapes ----------------------------------------------------------------------------------------------

    def _viewed(self, value: Any, shape: tuple[int, ...]) -> Any:
        handle = value.handle
        return core.tensor(
            Handle(spread(handle.data, shape), handle.dtype, handle.buffer),
            self.types.block(value.dtype, shape),
        )

    def broadcast_impl_value(self, lhs: Any, rhs: Any) -> tuple[Any, Any]:
        if lhs.type is rhs.type:
            return lhs, rhs
        left, right = type(lhs.type) is _BLOCK, type(rhs.type) is _BLOCK
        if not (left or right):
            return lhs, rhs
        if not right:
            return lhs, self._viewed(rhs, lhs.handle.data.shape[1:])
        if not left:
            return self._viewed(lhs, rhs.handle.data.shape[1:]), rhs
        a, b = lhs.handle.data.shape[1:], rhs.handle.data.shape[1:]
        if a == b:
            return lhs, rhs
        if len(a) != len(b):
            pair: tuple[Any, Any] = super().broadcast_impl_value(lhs, rhs)
            return pair
        shape = tuple(y if x == 1 else x for x, y in zip(a, b, strict=True))
        if any(y not in (1, z) for y, z in zip(b, shape, strict=True)):
            return super().broadcast_impl_value(lhs, rhs)  # type: ignore[no-any-return]  # raises, in Triton's words
        return lhs if a == shape else self._viewed(lhs, shape), rhs if b == shape else self._viewed(
            rhs, shape
        )

    def broadcast_impl_shape(self, value: Any, shape: Any) -> Any:
        whole = tuple(core._unwrap_if_constexpr(n) for n in shape)
        if type(value.type) is not _BLOCK:
            return self.splat(value, shape)
        mine = value.handle.data.shape[1:]
        if mine == whole:
            return value
        if len(mine) == len(whole) and all(n in (1, m) for n, m in zip(mine, whole, strict=True)):
            return self._viewed(value, whole)
        return super().broadcast_impl_shape(value, shape)

    def arange(self, start: int, end: int, *, ret_ty: Any = None) -> Any:
        if ret_ty is not None:
            return super().arange(start, end, ret_ty=ret_ty)
        found = self._ranges.get((start, end))
        if found is None:
            found = self._ranges[(start, end)] = super().arange(start, end)
        return found

    def splat(self, value: Any, shape: Any) -> Any:
        whole = tuple(int(core._unwrap_if_constexpr(n)) for n in shape)
        if type(value.type) is _BLOCK or not whole:
            return super().splat(value, shape)
        return self._viewed(value, whole)

    def expand_dims(self, value: Any, axis: int) -> Any:
        if type(value.type) is not _BLOCK:
            return super().expand_dims(value, axis)
        handle = value.handle
        data = handle.data[(_EVERYTHING,) * (axis + 1) + (None,)]
        return core.tensor(
            Handle(data, handle.dtype, handle.buffer), self.types.block(value.dtype, data.shape[1:])
        )

    # -- operators -------------------------------------------------------------------------------------------

    def operators(self) -> dict[str, Callable[..., Any]]:
        """Tensor methods that a kernel's expressions call most, without the layers between them and these
        rules.
        """
        plain = core._unwrap_if_constexpr

        def both(rule: Callable[[Any, Any], Any]) -> tuple[Callable[..., Any], Callable[..., Any]]:
            def forward(a: Any, b: Any, _semantic: Any = None) -> Any:
                return rule(a, b if isinstance(b, core.tensor) else plain(b))

            def backward(b: Any, a: Any, _semantic: Any = None) -> Any:
                return rule(plain(a), b)

            return forward, backward

        def compared(rule: Callable[[Any, Any], Any]) -> Callable[..., Any]:
            def compare(a: Any, b: Any, _semantic: Any = None) -> Any:
                if not isinstance(b, core.tensor):
                    b = plain(b)
                    exact = self._constant(b, a.dtype) if type(b) is int and a.dtype is tl.int32 else None
                    b = self.to_tensor(b) if exact is None else exact
                return rule(a, b)

            return compare

        table: dict[str, Callable[..., Any]] = {}
        for name, rule in (
            ("add", lambda a, b: self.add(a, b, False)),
            ("sub", lambda a, b: self.sub(a, b, False)),
            ("mul", lambda a, b: self.mul(a, b, False)),
            ("truediv", self.truediv),
            ("floordiv", self.floordiv),
            ("mod", self.mod),
            ("and", self.and_),
            ("or", self.or_),
            ("xor", self.xor_),
        ):
            table[f"__{name}__"], table[f"__r{name}__"] = both(rule)
        for name, rule in (
            ("gt", self.greater_than),
            ("ge", self.greater_equal),
            ("lt", self.less_than),
            ("le", self.less_equal),
            ("eq", self.equal),
            ("ne", self.not_equal),
        ):
            table[f"__{name}__"] = compared(rule)
        table["__getitem__"] = self._indexer()
        return table

    def _indexer(self) -> Callable[..., Any]:
        original = private.unwrapped(core.tensor.__getitem__)

        def getitem(value: Any, index: Any, _semantic: Any = None) -> Any:
            parts = index if type(index) is tuple else (index,)
            if type(value.type) is _BLOCK and all(part is None or part == _EVERYTHING for part in parts):
                handle = value.handle
                rank = sum(part is not None for part in parts)
                if rank < handle.data.ndim:
                    data = handle.data[(_EVERYTHING, *parts)]
                    kind = self.types.block(value.dtype, data.shape[1:])
                    return core.tensor(Handle(data, handle.dtype, handle.buffer), kind)
            return original(value, index, _semantic=self)

        return getitem
