"""Elementwise operations of the builder, with the rounding of the type at hand after each one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from verify.triton_cpu import private
from verify.triton_cpu.interpreter import numerics
from verify.triton_cpu.interpreter.handles import Array, Handle, format_of
from verify.triton_cpu.interpreter.rounding import Loose
from verify.triton_cpu.memory.overflow import Exact

_NO_ADDRESSES = "expected pointers to be used for loads and stores, got a cast between a pointer and a number"

Method = Callable[..., Handle]


@dataclass(kw_only=True)
class Work:
    """What the running launch has done so far; every field is a count."""

    loop_steps: int = 0
    loads: int = 0
    stores: int = 0
    bytes_loaded: int = 0
    bytes_stored: int = 0
    dot_flops: int = 0
    dot_types: dict[str, int] = field(default_factory=dict)
    """`dot_flops` by the type that operands are multiplied in: "bf16", "fp32", "tf32", ..."""
    elementwise_flops: int = 0
    transcendental: int = 0
    float_atomics: dict[int, int] = field(default_factory=dict)
    programs: int = 1
    """How many programs take part: what they compute as one counts for each of them."""

    def lanes(self, data: Array) -> int:
        """Elements of an operation's result over all programs that take part; `data` is (p, ...)."""
        elements: int = data.size // data.shape[0] * self.programs
        return elements

    def dot(self, flops: int, operand: str) -> None:
        """Count a matrix product."""
        self.dot_flops += flops
        self.dot_types[operand] = self.dot_types.get(operand, 0) + flops

    def arithmetic(self) -> tuple[int, int]:
        """Elementwise and transcendental operations so far, for `combined`."""
        return self.elementwise_flops, self.transcendental

    def combined(self, before: tuple[int, int], data: Array, axis: int, *, passes: int = 1) -> None:
        """Count the reduction or scan of `data` along `axis` since `before` as length - 1 combinations a
        line.

        Where NumPy combined a whole axis nothing was counted yet; a scan that went over it `passes` times
        counted as often.
        """
        done = [now - then for now, then in zip(self.arithmetic(), before, strict=True)]
        if any(done):
            self.elementwise_flops = before[0] + done[0] // passes
            self.transcendental = before[1] + done[1] // passes
        elif data.dtype.kind == "f":
            length = data.shape[axis]
            self.elementwise_flops += self.lanes(data) // length * (length - 1)

    def saved(self) -> dict[str, Any]:
        """The counts as they are, for `restore`."""
        copies = {"float_atomics": dict(self.float_atomics), "dot_types": dict(self.dot_types)}
        return {**vars(self), **copies}

    def restore(self, saved: dict[str, Any]) -> None:
        """Forget what was counted since `saved`."""
        vars(self).update(saved)


def rounded(data: Array, dtype: Any) -> Handle:
    """A float result in `dtype`: bfloat16 is rounded here, the others were rounded by NumPy.

    Raises TypeError for float8, of which a handle holds the bits and with which no device calculates.
    """
    name = dtype.name
    if name == "bf16":
        data = numerics.round_bfloat16(data)
    elif name in numerics.FLOAT8:
        raise TypeError(_no_arithmetic(name))
    return Handle(data, dtype)


def _no_arithmetic(name: str) -> str:
    return (
        f"expected arithmetic in a wider type, got {name}, which does not compile. Devices convert float8 "
        "and multiply it in tl.dot; for anything else write .to(tl.float32) first"
    )


def _float_binary(operation: Callable[[Array, Array], Array]) -> Method:
    def method(self: Elementwise, lhs: Handle, rhs: Handle) -> Handle:
        data = operation(lhs.data, rhs.data)
        self.work.elementwise_flops += self.work.lanes(data)
        return rounded(data, lhs.dtype)

    return method


def _rounded_binary(operation: Callable[[Array, Array], Array], *, approximate: bool = False) -> Method:
    """A product, or a quotient that a device may approximate."""

    def method(self: Elementwise, lhs: Handle, rhs: Handle) -> Handle:
        data = operation(lhs.data, rhs.data)
        self.work.elementwise_flops += self.work.lanes(data)
        if self.loose is not None and lhs.dtype.name == "fp32":
            exact = operation(lhs.data.astype(np.float64), rhs.data.astype(np.float64))
            move = self.loose.approximated if approximate else self.loose.product
            return Handle(move(data, exact, self.active), lhs.dtype)
        return rounded(data, lhs.dtype)

    return method


def _integer_binary(operation: Callable[[Array, Array], Array]) -> Method:
    def method(self: Elementwise, lhs: Handle, rhs: Handle) -> Handle:
        left, right = lhs.data, rhs.data
        if left.dtype.kind == "b":  # one bit that wraps round, where NumPy would saturate
            return Handle(
                (operation(left.astype(np.int8), right.astype(np.int8)) & 1).astype(np.bool_), lhs.dtype
            )
        data = operation(left, right)
        self.exact.check(operation, left, right, data)
        return Handle(data, lhs.dtype)

    return method


def _extreme(operation: Callable[[Array, Array], Array]) -> Method:
    def method(self: Elementwise, lhs: Handle, rhs: Handle) -> Handle:
        data = operation(lhs.data, rhs.data)
        self.exact.follow(operation, data, lhs.data, rhs.data)
        return Handle(data, lhs.dtype)

    return method


def _shift_left(self: Elementwise, lhs: Handle, rhs: Handle) -> Handle:
    left, right = lhs.data, rhs.data
    data = np.left_shift(left, right)
    if left.dtype.kind == "i":
        self.exact.check(np.multiply, left, np.left_shift(np.int64(1), right.astype(np.int64)), data)
    return Handle(data, lhs.dtype)


def _bits_binary(operation: Callable[[Array, Array], Array]) -> Method:
    def method(self: Elementwise, lhs: Handle, rhs: Handle) -> Handle:
        return Handle(operation(lhs.data, rhs.data), lhs.dtype)

    return method


def _comparison(operation: Callable[[Array, Array], Array], *, negate: bool = False) -> Method:
    def method(self: Elementwise, lhs: Handle, rhs: Handle) -> Handle:
        data = operation(lhs.data, rhs.data)
        return Handle(np.logical_not(data) if negate else data, private.tl.int1)

    return method


def _float_comparison(operation: Callable[[Array, Array], Array], *, negate: bool = False) -> Method:
    compare = _comparison(operation, negate=negate)

    def method(self: Elementwise, lhs: Handle, rhs: Handle) -> Handle:
        if lhs.dtype.name in numerics.FLOAT8:
            raise TypeError(_no_arithmetic(lhs.dtype.name))
        return compare(self, lhs, rhs)

    return method


def _ordered_not_equal(left: Array, right: Array) -> Array:
    differ: Array = (left < right) | (left > right)
    return differ


def _transcendental(operation: Callable[[Array], Array], *, precise: bool = False) -> Method:
    def method(self: Elementwise, arg: Handle) -> Handle:
        data = operation(arg.data)
        self.work.transcendental += self.work.lanes(data)
        if self.loose is not None and not precise and arg.dtype.name == "fp32":
            exact = operation(arg.data.astype(np.float64))
            return Handle(self.loose.approximated(data, exact, self.active), arg.dtype)
        return rounded(data, arg.dtype)

    return method


def _exponential(self: Elementwise, arg: Handle) -> Handle:
    if self.loose is None or arg.dtype.name != "fp32":
        return _EXACT_EXPONENTIAL(self, arg)
    self.work.transcendental += self.work.lanes(arg.data)
    return Handle(self.loose.exponential(arg.data, self.active), arg.dtype)


_EXACT_EXPONENTIAL = _transcendental(np.exp)


def _float_unary(operation: Callable[[Array], Array]) -> Method:
    def method(self: Elementwise, arg: Handle) -> Handle:
        data = operation(arg.data)
        self.work.elementwise_flops += self.work.lanes(data)
        return rounded(data, arg.dtype)

    return method


def _as_kind(data: Array, kind: str) -> Array:
    return data if data.dtype.kind in (kind, "b") else data.view(f"{kind}{data.dtype.itemsize}")


def _shift_right(kind: str) -> Method:
    def method(self: Elementwise, lhs: Handle, rhs: Handle) -> Handle:
        shifted = np.right_shift(_as_kind(lhs.data, kind), _as_kind(rhs.data, kind))
        return Handle(shifted.view(lhs.data.dtype), lhs.dtype)

    return method


def _divide_towards_zero(self: Elementwise, lhs: Handle, rhs: Handle) -> Handle:
    left, right = lhs.data, rhs.data
    if left.dtype.kind == "u":
        return Handle(left // right, lhs.dtype)
    data = (left - np.fmod(left, right)) // right
    self.exact.follow(lambda x, y: (x - np.fmod(x, y)) // y, data, left, right)
    return Handle(data, lhs.dtype)


def _reciprocal_root(data: Array) -> Array:
    return np.divide(np.ones((), data.dtype), np.sqrt(data))


class Elementwise:
    """Arithmetic half of the builder; every method maps handles of one shape to a handle of that shape."""

    work: Work
    exact = Exact(None)
    """Follows integers that wrapped."""
    loose: Loose | None = None
    """Where set, float32 is rounded as a device may round it."""
    active: Array | None

    create_fadd = _float_binary(np.add)
    create_fsub = _float_binary(np.subtract)
    create_fmul = _rounded_binary(np.multiply)
    create_fdiv = _rounded_binary(np.divide, approximate=True)
    create_precise_divf = _float_binary(np.divide)
    create_approx_divf = _rounded_binary(np.divide, approximate=True)
    create_frem = _float_binary(np.fmod)
    create_minimumf = _float_binary(np.minimum)
    create_maximumf = _float_binary(np.maximum)
    create_minnumf = _float_binary(np.fmin)
    create_maxnumf = _float_binary(np.fmax)
    create_fneg = _float_unary(np.negative)
    create_fabs = _float_unary(np.abs)
    create_floor = _float_unary(np.floor)
    create_ceil = _float_unary(np.ceil)

    create_exp = _exponential
    create_exp2 = _transcendental(np.exp2)
    create_log = _transcendental(np.log)
    create_log2 = _transcendental(np.log2)
    create_sin = _transcendental(np.sin)
    create_cos = _transcendental(np.cos)
    create_sqrt = _transcendental(np.sqrt)
    create_precise_sqrt = _transcendental(np.sqrt, precise=True)
    create_rsqrt = _transcendental(_reciprocal_root)
    create_erf = _transcendental(numerics.erf)

    create_add = _integer_binary(np.add)
    create_sub = _integer_binary(np.subtract)
    create_mul = _integer_binary(np.multiply)
    create_sdiv = create_udiv = create_idiv = _divide_towards_zero
    create_srem = create_urem = _bits_binary(np.fmod)
    create_and = _bits_binary(np.bitwise_and)
    create_or = _bits_binary(np.bitwise_or)
    create_xor = _bits_binary(np.bitwise_xor)
    create_shl = _shift_left
    create_lshr = _shift_right("u")
    create_ashr = _shift_right("i")
    create_minsi = create_minui = _extreme(np.minimum)
    create_maxsi = create_maxui = _extreme(np.maximum)

    create_icmpSLE = create_icmpULE = _comparison(np.less_equal)
    create_icmpSLT = create_icmpULT = _comparison(np.less)
    create_icmpSGE = create_icmpUGE = _comparison(np.greater_equal)
    create_icmpSGT = create_icmpUGT = _comparison(np.greater)
    create_icmpEQ = _comparison(np.equal)
    create_icmpNE = _comparison(np.not_equal)
    create_fcmpOEQ = _float_comparison(np.equal)
    create_fcmpUNE = _float_comparison(np.not_equal)
    create_fcmpOLT = _float_comparison(np.less)
    create_fcmpOLE = _float_comparison(np.less_equal)
    create_fcmpOGT = _float_comparison(np.greater)
    create_fcmpOGE = _float_comparison(np.greater_equal)
    create_fcmpULT = _float_comparison(np.greater_equal, negate=True)
    create_fcmpULE = _float_comparison(np.greater, negate=True)
    create_fcmpUGT = _float_comparison(np.less_equal, negate=True)
    create_fcmpUGE = _float_comparison(np.less, negate=True)
    create_fcmpONE = _float_comparison(_ordered_not_equal)
    create_fcmpUEQ = _float_comparison(_ordered_not_equal, negate=True)

    def create_iabs(self, arg: Handle) -> Handle:
        return Handle(np.abs(arg.data), arg.dtype)

    def create_umulhi(self, lhs: Handle, rhs: Handle) -> Handle:
        return Handle(numerics.multiply_high(lhs.data, rhs.data), lhs.dtype)

    def create_fma(self, x: Handle, y: Handle, z: Handle) -> Handle:
        self.work.elementwise_flops += 2 * self.work.lanes(z.data)
        return rounded(numerics.fused_multiply_add(x.data, y.data, z.data), z.dtype)

    def create_clampf(self, arg: Handle, low: Handle, high: Handle, propagate: object) -> Handle:
        if private.propagates_nan(propagate):
            data = np.minimum(np.maximum(arg.data, low.data), high.data)
        else:
            data = np.fmin(np.fmax(arg.data, low.data), high.data)
        self.work.elementwise_flops += 2 * self.work.lanes(data)
        return rounded(data, arg.dtype)

    def create_select(self, condition: Handle, lhs: Handle, rhs: Handle) -> Handle:
        buffer = lhs.buffer if lhs.buffer is rhs.buffer else None

        def chosen(left: Array, right: Array) -> Array:
            return np.where(condition.data, left, right)

        data = chosen(lhs.data, rhs.data)
        self.exact.follow(chosen, data, lhs.data, rhs.data)
        return Handle(data, lhs.dtype, buffer)

    # -- conversions -----------------------------------------------------------------------------------------

    def cast_impl(self, source: Handle, target: Any) -> Handle:
        """Any numeric conversion but a bit cast; floats round to nearest even, floats to integers
        saturate.
        """
        to, scalar = format_of(target), target.scalar
        was = source.dtype
        data = (
            numerics.from_float8_bits(source.data, was.name) if was.name in numerics.FLOAT8 else source.data
        )
        if scalar.name in numerics.FLOAT8:
            return Handle(numerics.float8_bits(data, scalar.name), scalar)
        if scalar.name == "bf16":
            return Handle(
                data if was.name == "bf16" else numerics.round_bfloat16(data.astype(np.float32)), scalar
            )
        if data.dtype.kind == "f" and to.compute.kind in "iu":
            return Handle(numerics.saturating_integers(data, to.compute), scalar)
        return Handle(data.astype(to.compute, copy=False), scalar)

    def create_si_to_fp(self, source: Handle, target: Any) -> Handle:
        return self.cast_impl(source, target)

    create_ui_to_fp = create_fp_to_si = create_fp_to_ui = create_fp_ext = create_fp_trunc = create_si_to_fp

    def create_int_cast(self, source: Handle, target: Any, signed: bool) -> Handle:
        data = source.data
        if not signed and data.dtype.kind == "i":
            data = data.view(f"u{data.dtype.itemsize}")
        cast = data.astype(format_of(target).compute, copy=False)
        if cast is not data and cast.dtype.kind == "i":
            self.exact.narrowed(cast, data)
        return Handle(cast, target.scalar)

    def create_fp_to_fp(self, source: Handle, target: Any, rounding: object) -> Handle:
        scalar = target.scalar
        if private.rounds_to_zero(rounding):
            if scalar.name == "bf16":
                return Handle(numerics.truncate_bfloat16(source.data), scalar)
            if scalar.name == "fp16":
                return Handle(numerics.truncate_float16(source.data), scalar)
            raise ValueError(
                f"expected a round-towards-zero conversion to fp16 or bf16, got one to {scalar.name}"
            )
        return self.cast_impl(source, target)

    def create_bitcast(self, source: Handle, target: Any) -> Handle:
        scalar = target.scalar
        if source.dtype.is_ptr() and scalar.is_ptr():
            return Handle(source.data, scalar, source.buffer)
        if source.dtype.is_ptr() or scalar.is_ptr():
            raise TypeError(_NO_ADDRESSES)
        bits = format_of(source.dtype).encode(source.data)
        to = format_of(scalar)
        if not bits.flags.c_contiguous:
            bits = np.ascontiguousarray(bits)
        return Handle(to.decode(bits.view(to.raw)), scalar)

    def create_int_to_ptr(self, source: Handle, target: Any) -> Handle:
        return Handle(source.data.astype(np.int64), target.scalar)

    def create_ptr_to_int(self, source: Handle, target: Any) -> Handle:
        """Refused: a kernel that sees addresses can tell this arena from a device."""
        raise TypeError(_NO_ADDRESSES)
