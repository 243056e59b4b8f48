"""The builder that Triton's own language talks to while a kernel runs: it computes where a compiler would
emit.

It derives from the interpreter's builder for the names of types only; whatever an operation does is defined
here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from verify.triton_cpu import private
from verify.triton_cpu.interpreter import numerics
from verify.triton_cpu.interpreter.arithmetic import Elementwise, Work, rounded
from verify.triton_cpu.interpreter.blocks import Blocks
from verify.triton_cpu.interpreter.group import Diverged, Group, NotTogether
from verify.triton_cpu.interpreter.handles import (
    ADDRESS,
    FORMATS,
    Array,
    Handle,
    collapsed,
    format_of,
    spanning,
    spread,
)
from verify.triton_cpu.interpreter.libdevice import call_device_function
from verify.triton_cpu.interpreter.ptx import run_inline
from verify.triton_cpu.interpreter.rounding import Loose
from verify.triton_cpu.memory.arena import Arena, Memory
from verify.triton_cpu.memory.overflow import Exact
from verify.triton_cpu.private import tl

_ATOMICS: dict[str, Callable[[Array, Array], Array]] = {
    "add": np.add,
    "fadd": np.add,
    "min": np.minimum,
    "umin": np.minimum,
    "max": np.maximum,
    "umax": np.maximum,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "xchg": lambda _, new: new,
}


class UnsupportedOperation(Exception):
    """An operation of the language that this layer does not execute; says which, and what to use instead."""


def _constant(name: str) -> Callable[[Any, Any], Handle]:
    dtype, compute = (
        {"fp16": tl.float16, "fp32": tl.float32, "fp64": tl.float64, "int1": tl.int1}.get(
            name, getattr(tl, name, None)
        ),
        FORMATS[name].compute,
    )

    def method(self: Any, value: Any) -> Handle:
        return Handle(np.array([value], compute), dtype)

    return method


class Builder(Elementwise, Blocks, Group, private.InterpreterBuilder):
    """One per process; `begin` points it at the arena and the work counts of a launch."""

    def __init__(self) -> None:
        super().__init__()
        # Overflow checks are a debug feature of the compiler; a device runs without them.
        self.options = private.InterpreterOptions(
            sanitize_overflow=False, allowed_dot_input_precisions=private.DOT_PRECISIONS
        )
        self.codegen_fns = {"convert_custom_types": _convert_custom_types, "min_dot_size": _min_dot_size}
        self.memory: Memory = Arena()
        self.work = Work()
        self.reset()

    def begin(
        self,
        memory: Memory,
        work: Work,
        grid: tuple[int, int, int],
        *,
        overflow: bool = False,
        rounding: int | None = None,
    ) -> None:
        """`overflow` follows offsets that wrap, `rounding` seeds the roundings that a device may make."""
        self.loose = None if rounding is None else Loose(rounding)
        self.memory, self.work, self.grid_dim, self.widest = memory, work, grid, 1
        self.exact = Exact(memory if overflow else None)

    # -- constants and programs ------------------------------------------------------------------------------

    get_int1 = _constant("int1")
    get_int8, get_uint8 = _constant("int8"), _constant("uint8")
    get_int16, get_uint16 = _constant("int16"), _constant("uint16")
    get_int32, get_uint32 = _constant("int32"), _constant("uint32")
    get_int64, get_uint64 = _constant("int64"), _constant("uint64")
    get_fp16, get_fp32, get_fp64 = _constant("fp16"), _constant("fp32"), _constant("fp64")

    def get_bf16(self, value: float) -> Handle:
        return Handle(numerics.round_bfloat16(np.array([value], np.float32)), tl.bfloat16)

    def get_null_value(self, dtype: Any) -> Handle:
        return Handle(np.zeros(1, format_of(dtype).compute), dtype.scalar)

    def get_all_ones_value(self, dtype: Any) -> Handle:
        compute = format_of(dtype).compute
        if compute.kind not in "biu":
            raise UnsupportedOperation(f"expected an integer type for an all-ones value, got {dtype}")
        return Handle(
            np.full(
                1, -1 if compute.kind == "i" else np.iinfo(compute).max if compute.kind == "u" else 1, compute
            ),
            dtype.scalar,
        )

    def create_get_program_id(self, axis: int) -> Handle:
        return Handle(self._program_ids[axis], tl.int32)

    def create_get_num_programs(self, axis: int) -> Handle:
        return Handle(np.array([self.grid_dim[axis]], np.int32), tl.int32)

    def create_make_range(self, _type: Any, start: int, stop: int) -> Handle:
        return Handle(np.arange(start, stop, dtype=np.int32)[None], tl.int32)

    # -- memory ----------------------------------------------------------------------------------------------

    def _lanes(self, data: Array, mask: Array | None) -> int:
        """Live lanes of an access, over all programs of the group."""
        block: int = data.size // data.shape[0]
        self.widest = max(self.widest, block)
        if mask is None:
            return block * self.work.programs
        live = int(np.count_nonzero(mask))
        return live if mask.shape[0] == self.programs else live * self.work.programs

    def _load(self, pointers: Handle, mask: Array | None, other: Array | None) -> Handle:
        dtype = pointers.dtype.element_ty
        form = FORMATS.get(dtype.name, ADDRESS)
        if pointers.data.shape[0] > 1 or (mask is not None and mask.shape[0] > 1):
            mask = self._masked(pointers.data, mask)
        self.exact.access(pointers.data, mask, pointers.buffer, form.raw.itemsize)
        work = self.work
        work.loads += work.programs
        work.bytes_loaded += self._lanes(pointers.data, mask) * form.raw.itemsize
        fill = 0 if other is None else form.encode(collapsed(other))
        raw = self.memory.load(pointers.data, mask, form.raw, pointers.buffer, fill=fill, poison=form.poison)
        return Handle(form.decode(raw), dtype)

    def _store(self, pointers: Handle, value: Handle, mask: Array | None) -> None:
        form = format_of(value.dtype)
        mask = self._masked(pointers.data, mask)
        self.exact.access(pointers.data, mask, pointers.buffer, form.raw.itemsize)
        work = self.work
        work.stores += work.programs
        work.bytes_stored += self._lanes(pointers.data, mask) * form.raw.itemsize
        self.memory.store(pointers.data, form.encode(value.data), mask, pointers.buffer)

    def create_load(self, pointers: Handle, *_policy: Any) -> Handle:
        return self._load(pointers, None, None)

    def create_masked_load(
        self, pointers: Handle, mask: Handle, other: Handle | None, *_policy: Any
    ) -> Handle:
        return self._load(pointers, mask.data, None if other is None else other.data)

    def create_store(self, pointers: Handle, value: Handle, *_policy: Any) -> None:
        self._store(pointers, value, None)

    def create_masked_store(self, pointers: Handle, value: Handle, mask: Handle, *_policy: Any) -> None:
        self._store(pointers, value, mask.data)

    def create_addptr(self, pointer: Handle, offset: Handle) -> Handle:
        form = FORMATS.get(pointer.dtype.element_ty.name, ADDRESS)
        steps = offset.data if offset.data.dtype.kind == "i" else offset.data.astype(np.int64)
        size = np.int64(form.raw.itemsize)
        data = pointer.data + steps * size
        self.exact.follow(lambda start, step: start + step * size, data, pointer.data, offset.data)
        return Handle(data, pointer.dtype, pointer.buffer)

    def _alone(self, what: str) -> None:
        """An operation whose result depends on which program comes first: they run one after another."""
        if self.memory.in_groups:
            raise NotTogether(what)

    def _atomic_place(self, dtype: Any) -> None:
        if dtype.is_floating():
            line = self.memory.locate().line
            self.work.float_atomics[line] = self.work.float_atomics.get(line, 0) + 1

    def create_atomic_rmw(
        self, operation: object, pointers: Handle, value: Handle, mask: Handle, *_semantics: Any
    ) -> Handle:
        self._alone("atomic operations")
        name = private.atomic_name(operation)
        form, combine = format_of(value.dtype), _ATOMICS[name]
        self.exact.access(pointers.data, mask.data, pointers.buffer, form.raw.itemsize)
        if name == "fadd":
            self._atomic_place(value.dtype)
        self.work.stores += 1
        self.work.bytes_stored += int(np.count_nonzero(mask.data)) * form.raw.itemsize

        def raw(old: Array, new: Array) -> Array:
            return form.encode(rounded(combine(form.decode(old), form.decode(new)), value.dtype).data)

        old = self.memory.atomic(
            pointers.data,
            [form.encode(value.data)],
            mask.data,
            form.raw,
            pointers.buffer,
            raw,
            poison=form.poison,
            what=name,
        )
        return Handle(form.decode(old), value.dtype)

    def create_atomic_cas(
        self, pointers: Handle, expected: Handle, value: Handle, *_semantics: Any
    ) -> Handle:
        self._alone("atomic operations")
        form = format_of(value.dtype)
        old = self.memory.atomic(
            pointers.data,
            [form.encode(expected.data), form.encode(value.data)],
            None,
            form.raw,
            pointers.buffer,
            _exchange_if_equal,
            poison=form.poison,
            what="cas",
        )
        self.work.stores += 1
        return Handle(form.decode(old), value.dtype)

    def create_atomic_load(self, pointers: Handle, mask: Handle, *_semantics: Any) -> Handle:
        return self._load(pointers, mask.data, None)

    def create_atomic_store(self, pointers: Handle, value: Handle, mask: Handle, *_semantics: Any) -> None:
        self._store(pointers, value, mask.data)

    # -- shapes ----------------------------------------------------------------------------------------------

    def create_splat(self, target: Any, arg: Handle) -> Handle:
        return Handle(spread(arg.data, target.shape), arg.dtype, arg.buffer)

    def create_unsplat(self, arg: Handle) -> Handle:
        return Handle(arg.data.reshape(arg.data.shape[0], -1)[:, 0], arg.dtype, arg.buffer)

    def create_broadcast(self, arg: Handle, shape: Sequence[int]) -> Handle:
        return Handle(spread(arg.data, shape), arg.dtype, arg.buffer)

    def create_expand_dims(self, arg: Handle, axis: int) -> Handle:
        return Handle(arg.data[(slice(None),) * (axis + 1) + (None,)], arg.dtype, arg.buffer)

    def create_reshape(self, arg: Handle, shape: Sequence[int], _reorder: bool) -> Handle:
        data = arg.data.reshape((arg.data.shape[0], *shape))
        if not np.may_share_memory(data, arg.data):
            self.exact.follow(lambda exact: exact.reshape(data.shape), data, arg.data)
        return Handle(data, arg.dtype, arg.buffer)

    def create_trans(self, arg: Handle, order: Sequence[int]) -> Handle:
        return Handle(arg.data.transpose((0, *(axis + 1 for axis in order))), arg.dtype, arg.buffer)

    def create_cat(self, lhs: Handle, rhs: Handle) -> Handle:
        """In an order that is not the operands', as the compiler may choose any: a kernel that counts on one
        fails here, too.
        """

        def mixed(left: Array, right: Array) -> Array:
            pairs = np.stack(spanning(left, right), axis=-1)
            return pairs.reshape(len(pairs), -1)

        data = mixed(lhs.data, rhs.data)
        self.exact.follow(mixed, data, lhs.data, rhs.data)
        return Handle(data, lhs.dtype)

    def create_join(self, lhs: Handle, rhs: Handle) -> Handle:
        data = np.stack(spanning(lhs.data, rhs.data), axis=-1)
        self.exact.follow(lambda a, b: np.stack(spanning(a, b), axis=-1), data, lhs.data, rhs.data)
        return Handle(data, lhs.dtype)

    def create_split(self, arg: Handle) -> tuple[Handle, Handle]:
        return Handle(arg.data[..., 0], arg.dtype), Handle(arg.data[..., 1], arg.dtype)

    def create_gather(self, source: Handle, indices: Handle, axis: int) -> Handle:
        values, at = spanning(source.data, indices.data)
        if self.active is not None:  # those that take no part may be past the end
            at = np.where(self.active.reshape((-1,) + (1,) * (at.ndim - 1)), at, 0)
        data = np.take_along_axis(values, at, axis=axis + 1)
        self.exact.follow(
            lambda exact: np.take_along_axis(spanning(exact, at)[0], at, axis=axis + 1), data, source.data
        )
        return Handle(data, source.dtype)

    def create_histogram(self, data: Handle, bins: int, mask: Handle | None) -> Handle:
        values = data.data
        live = np.ones_like(values, np.bool_) if mask is None else spread(mask.data, values.shape[1:])
        rows = []
        for row, kept in zip(*spanning(values, live), strict=True):
            inside = row[kept & (row >= 0) & (row < bins)]
            rows.append(np.bincount(inside, minlength=bins).astype(np.int32))
        return Handle(np.stack(rows), tl.int32)

    # -- matrix products -------------------------------------------------------------------------------------

    def create_dot(self, a: Handle, b: Handle, c: Handle, precision: object, _imprecise: object) -> Handle:
        x, y = a.data, b.data
        flops = 2 * self.work.lanes(x) * y.shape[-1]
        self.work.dot(flops, _multiplied_in(a, precision))
        if x.dtype.kind in "iu" and a.dtype.name not in numerics.FLOAT8:
            product = np.matmul(x.astype(np.float64), y.astype(np.float64))
            return Handle(product.astype(np.int64).astype(c.data.dtype) + c.data, c.dtype)
        if a.dtype.name == "fp64":
            return Handle(np.matmul(np.ascontiguousarray(x), np.ascontiguousarray(y)) + c.data, c.dtype)
        x, y = _dot_operand(a, precision), _dot_operand(b, precision)
        if self.loose is not None:
            order = self.loose.order(x.shape[-1])
            x, y = x[..., order], y[..., order, :]
        # How a block lies in memory, which it owes to its past, chooses among the loops of a product.
        total = np.matmul(np.ascontiguousarray(x), np.ascontiguousarray(y)) + c.data
        if c.dtype.name == "bf16":
            return Handle(numerics.round_bfloat16(total), c.dtype)
        return Handle(total.astype(c.data.dtype, copy=False), c.dtype)

    # -- everything else -------------------------------------------------------------------------------------

    def create_extern_elementwise(
        self, _library: str, _path: str, symbol: str, arguments: Sequence[Handle], result: Any, _pure: bool
    ) -> Handle:
        self.work.transcendental += self.work.lanes(arguments[0].data)
        values = [x.data for x in arguments]
        data = call_device_function(symbol, values).astype(format_of(result).compute, copy=False)
        if self.loose is not None and data.dtype == np.float32 and result.scalar.name == "fp32":
            exact = call_device_function(symbol, [value.astype(np.float64) for value in values])
            data = self.loose.approximated(data, exact, self.active)
        return Handle(data, result.scalar)

    def create_inline_asm(
        self,
        text: str,
        constraints: str,
        arguments: Sequence[Handle],
        results: Sequence[Any],
        _pure: bool,
        pack: int,
    ) -> InlineResults:
        data = np.broadcast_arrays(*(format_of(x.dtype).encode(x.data) for x in arguments))
        self.work.elementwise_flops += self.work.lanes(data[0])
        forms = [format_of(kind) for kind in results]
        raw = run_inline(text, constraints, data, [form.raw for form in forms], pack)
        return InlineResults(
            [
                Handle(form.decode(values), kind.scalar)
                for form, values, kind in zip(forms, raw, results, strict=True)
            ]
        )

    def create_assume(self, condition: Handle) -> None:
        holds = condition.data if self.active is None else condition.data | ~self.active
        if not holds.all():
            raise ValueError("expected the condition of tl.assume to hold, got false")

    def create_barrier(self, *_arguments: Any) -> None:
        """Programs run one instruction at a time over all lanes, so there is nothing to wait for; but what
        was stored before is visible to every thread after. Programs that do not come here run apart.
        """
        if self.active is not None:
            raise Diverged(self.active)
        self.memory.barrier()

    def create_print(self, *_arguments: Any) -> None:
        """Device prints reach no one: a kernel has no channel but its buffers."""

    create_assert = create_print  # evaluated by a device in debug builds only

    def get_cache_policy(self, *_arguments: Any) -> None:
        """Cache hints change no value."""


class InlineResults:
    """The values of one inline assembly, as the compiler's operation shows them."""

    def __init__(self, handles: list[Handle]) -> None:
        self._handles = handles

    def get_result(self, at: int) -> Handle:
        return self._handles[at]


def _exchange_if_equal(was: Array, wanted: Array, new: Array) -> Array:
    return np.where(was == wanted, new, was)


def _multiplied_in(operand: Handle, precision: object) -> str:
    """The type that a dot's operands are multiplied in: float32 ones may be rounded first, or be split."""
    named = private.precision_name(precision) if operand.dtype.name == "fp32" else "ieee"
    name: str = operand.dtype.name
    return name if named == "ieee" else named


def _dot_operand(operand: Handle, precision: object) -> Array:
    if operand.dtype.name in numerics.FLOAT8:
        return numerics.from_float8_bits(operand.data, operand.dtype.name)
    if operand.dtype.name == "fp32":
        name = private.precision_name(precision)
        if name == "tf32":
            return numerics.round_tf32(operand.data)
        if name == "bf16x3":
            return numerics.round_bfloat16_pair(operand.data)
    return operand.data.astype(np.float32, copy=False)


def _min_dot_size(lhs_type: Any, _rhs_type: Any) -> tuple[int, int, int]:
    """(M, N, K) that tensor cores ask for at least: a kernel must not pass here and fail to compile there."""
    return (1, 1, 32 if lhs_type.scalar.primitive_bitwidth == 8 else 16)


def _convert_custom_types(arg: Any, target: Any, rounding: Any, _semantic: Any) -> Any:
    return tl.tensor(_semantic.builder.create_fp_to_fp(arg.handle, target, rounding), target)


def _refusing(name: str) -> Callable[..., Any]:
    def method(self: Any, *_arguments: Any) -> Any:
        raise UnsupportedOperation(
            f"expected an operation that runs without a device, got {name.removeprefix('create_')}. "
            "Write it with operations of triton.language."
        )

    return method


def _close_inherited() -> None:
    """No operation of the stock interpreter stays reachable: what is not defined here refuses.

    So does what only the compiler's builder has, which a kernel would otherwise find missing.
    """
    for name in {*dir(private.InterpreterBuilder), *private.compiler_operations()}:
        ours = any(name in vars(owner) for owner in (Builder, Elementwise, Blocks, Group))
        if name.startswith("create_") and not ours:
            setattr(Builder, name, _refusing(name))


_close_inherited()
