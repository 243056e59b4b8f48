"""Inline PTX (`tl.inline_asm_elementwise`) without a device: straight-line code over whole blocks at once.

Registers are untyped bits, as in PTX; each instruction reads them as its type says. The approximate
instructions (ex2.approx, tanh.approx, ...) are computed as precisely as NumPy does, so they differ from a
device by that approximation's error. Branches, labels and memory are refused.
Source: PTX ISA, "Instruction Set"; packing as in Triton's lowering of ElementwiseInlineAsmOp.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from verify.triton_cpu.interpreter import numerics
from verify.triton_cpu.interpreter.ptx_numbers import (
    FLOAT8_PAIRS,
    HALVES,
    KINDS,
    ORDERED,
    ROUNDINGS,
    Array,
    Kind,
    UnsupportedPtx,
    calculate,
    flushed,
    immediate,
    looked_up,
    pair,
    permuted,
    shifted,
    unsigned,
)

__all__ = ["Program", "UnsupportedPtx", "run_inline"]

_REGISTER_BITS = 32
_FLAGS = frozenset("approx full rn ftz sat nan lo hi wide uni relu satfinite rna rni rzi rmi rpi".split())


class Program:
    """Inline assembly, parsed once; `run` maps input registers to output registers."""

    def __init__(self, text: str, outputs: int) -> None:
        plain = re.sub(r"//[^\n]*|/\*.*?\*/", " ", text, flags=re.DOTALL)
        self._outputs = outputs
        self._widths: dict[str, int] = {}
        self._instructions: list[tuple[str, str, list[str]]] = []
        for statement in plain.split(";"):
            line = re.sub(r"^[\s{}]+", "", statement).strip()
            if line.endswith("}") and "{" not in line:
                line = line.rstrip("} \n\t")
            if line:
                self._parse(line)

    def _parse(self, line: str) -> None:
        declared = re.fullmatch(r"\.reg\s+\.(\w+)\s+(.*)", line, flags=re.DOTALL)
        if declared:
            kind = KINDS.get(declared.group(1))
            for name in declared.group(2).split(","):
                counted = re.fullmatch(r"\s*([%\w$]+)<(\d+)>\s*", name)
                names = (
                    [f"{counted.group(1)}{at}" for at in range(int(counted.group(2)))]
                    if counted
                    else [name.strip()]
                )
                self._widths.update((one, kind.bits if kind else _REGISTER_BITS) for one in names)
            return
        found = re.fullmatch(r"(?:@(!?[%\w$]+)\s+)?([a-z][\w.:]*)\s+(.*)", line, flags=re.DOTALL)
        if found is None or ":" in line:
            raise UnsupportedPtx(f"expected straight-line PTX, got {line[:60]!r}")
        operands = [part.strip() for part in re.split(r",(?![^{]*\})", found.group(3))]
        self._instructions.append((found.group(1) or "", found.group(2), operands))

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """`inputs` are unsigned arrays of one shape, the registers after the outputs; returns the outputs."""
        registers = {f"${self._outputs + at}": data for at, data in enumerate(inputs)}
        shape = np.broadcast_shapes(*(data.shape for data in inputs))
        state = _State(registers, self._widths, shape)
        with np.errstate(all="ignore"):
            for guard, operation, operands in self._instructions:
                state.step(guard, operation, operands)
        missing = [at for at in range(self._outputs) if f"${at}" not in registers]
        if missing:
            raise UnsupportedPtx(f"expected every output to be written, got nothing in ${missing[0]}")
        return [np.broadcast_to(registers[f"${at}"], shape) for at in range(self._outputs)]


class _State:
    """Registers while a program runs."""

    def __init__(self, registers: dict[str, Array], widths: dict[str, int], shape: tuple[int, ...]) -> None:
        self._registers = registers
        self._widths = widths
        self._shape = shape

    def _register(self, name: str) -> str:
        return re.sub(r"^\$\{(\d+)\}$", r"$\1", name)

    def _read(self, operand: str, kind: Kind) -> Array:
        name = self._register(operand)
        if kind.name == "pred" and name.startswith("!"):
            return np.logical_not(self._read(name[1:], kind))
        if name not in self._registers:
            return immediate(name, kind)
        data = self._registers[name]
        if kind.name == "pred" or data.dtype == np.bool_:
            return data
        want = unsigned(kind.bits)
        if data.dtype.itemsize < want.itemsize and kind.name.startswith("s"):
            data = data.view(f"i{data.dtype.itemsize}").astype(f"i{want.itemsize}").view(want)
        return kind.decode(data.astype(want, copy=False))

    def _write(self, operand: str, data: Array, guard: Array | None) -> None:
        if operand.startswith("{"):
            parts = [part.strip() for part in operand.strip("{} ").split(",")]
            width = 8 * data.dtype.itemsize // len(parts)
            for at, part in enumerate(parts):
                piece = (data >> data.dtype.type(at * width)).astype(unsigned(width))
                self._write(part, piece, guard)
            return
        name = self._register(operand)
        if guard is not None:
            old = self._registers.get(name)
            before = np.zeros((), data.dtype) if old is None else old.astype(data.dtype, copy=False)
            data = np.where(guard, data, before)
        self._registers[name] = data

    def step(self, guard: str, operation: str, operands: list[str]) -> None:
        """Execute one instruction where its guard holds."""
        name, *modifiers = operation.lower().split(".")
        held = None if not guard else self._read(guard, KINDS["pred"])
        kinds = [part for part in modifiers if part in KINDS or part in HALVES or part in FLOAT8_PAIRS]
        kinds += [part for part in modifiers if part == "tf32"]
        flags = frozenset(modifiers) - frozenset(kinds)
        if name == "setp":
            self._write(operands[0], self._compare(modifiers, kinds[-1], operands), held)
        elif name == "cvt":
            self._write(operands[0], self._convert(kinds, flags, operands[1:]), held)
        elif not flags <= _FLAGS or not kinds:
            raise UnsupportedPtx(f"expected an instruction that is known here, got {operation}")
        elif kinds[-1] in HALVES:
            self._write(operands[0], self._both_halves(name, kinds[-1], flags, operands[1:]), held)
        else:
            kind = KINDS[kinds[-1]]
            self._write(operands[0], self._compute(name, kind, flags, operands[1:]), held)

    def _packed(self, operand: str, kind: Kind) -> Array:
        """`{a, b}` as one value, the first part in the low bits."""
        parts = [part.strip() for part in operand.strip("{} ").split(",")]
        width = kind.bits // len(parts)
        whole = np.zeros(self._shape, unsigned(kind.bits))
        for at, part in enumerate(parts):
            piece = self._read(part, KINDS[f"b{width}"]).astype(whole.dtype)
            whole = whole | (piece << whole.dtype.type(at * width))
        return whole

    def _compute(self, name: str, kind: Kind, flags: frozenset[str], operands: list[str]) -> Array:
        if name == "mov" and operands[0].startswith("{"):
            return self._packed(operands[0], kind)
        if name == "selp":
            choice = self._read(operands[2], KINDS["pred"])
            return kind.encode(np.where(choice, self._read(operands[0], kind), self._read(operands[1], kind)))
        if name in ("shl", "shr"):
            amount = self._read(operands[1], KINDS["u32"])
            return kind.encode(shifted(self._read(operands[0], kind), amount, left=name == "shl"))
        if name == "lop3":
            a, b, c = (self._read(part, kind) for part in operands[:3])
            return looked_up(a, b, c, int(operands[3], 0))
        values = [self._read(part, kind) for part in operands]
        if name == "prmt":
            return permuted(*values)
        if "ftz" in flags and kind.name == "f32":
            values = [flushed(value) for value in values]
        result = calculate(name, kind, flags, values)
        if "ftz" in flags and kind.name == "f32":
            result = flushed(result)
        if "sat" in flags and kind.is_float:
            result = np.clip(np.nan_to_num(result, nan=0.0), 0, 1).astype(result.dtype)
        if "wide" in flags:
            return result.view(unsigned(8 * result.dtype.itemsize))
        return kind.encode(result)

    def _both_halves(self, name: str, packed: str, flags: frozenset[str], operands: list[str]) -> Array:
        kind = KINDS[HALVES[packed]]
        words = [
            self._packed(part, KINDS["b32"]) if part.startswith("{") else self._read(part, KINDS["b32"])
            for part in operands
        ]
        whole = np.zeros(self._shape, np.uint32)
        for shift in (0, 16):
            values = [kind.decode((word >> np.uint32(shift)).astype(np.uint16)) for word in words]
            half = kind.encode(calculate(name, kind, flags, values)).astype(np.uint32)
            whole = whole | (half << np.uint32(shift))
        return whole

    def _compare(self, modifiers: list[str], name: str, operands: list[str]) -> Array:
        kind = KINDS[name]
        if "|" in operands[0]:
            raise UnsupportedPtx("expected setp with one destination, got two")
        x, y = self._read(operands[1], kind), self._read(operands[2], kind)
        relation = modifiers[0]
        if kind.is_float:
            unordered = np.isnan(x) | np.isnan(y)
            if relation in ("num", "nan"):
                result = unordered if relation == "nan" else ~unordered
            elif relation in ("ne", "neu"):
                result = (x != y) & (~unordered if relation == "ne" else True)
            elif relation.endswith("u"):
                result = ORDERED[relation[:-1]](x, y) | unordered
            else:
                result = ORDERED[relation](x, y)
        else:
            result = np.not_equal(x, y) if relation == "ne" else ORDERED[relation](x, y)
        for join, function in (("and", np.logical_and), ("or", np.logical_or), ("xor", np.logical_xor)):
            if join in modifiers[1:]:
                result = function(result, self._read(operands[3], KINDS["pred"]))
        return result

    def _convert(self, kinds: list[str], flags: frozenset[str], operands: list[str]) -> Array:
        if not flags <= _FLAGS:
            raise UnsupportedPtx(f"expected a conversion that is known here, got {'.'.join(sorted(flags))}")
        if "tf32" in kinds:
            return KINDS["f32"].encode(numerics.round_tf32(self._read(operands[0], KINDS["f32"])))
        target, source = kinds[0], kinds[1]
        if len(operands) == 2:  # two numbers into one register, the first in the high half
            high, low = (self._read(part, KINDS[source]) for part in operands)
            return pair(target, high, low)
        if target in HALVES and source in FLOAT8_PAIRS:
            word = self._read(operands[0], KINDS["b16"])
            parts = [
                numerics.from_float8_bits((word >> np.uint16(at)).astype(np.uint8), FLOAT8_PAIRS[source])
                for at in (8, 0)
            ]
            return pair(target, *parts)
        data = self._read(operands[0], KINDS[source])
        if "ftz" in flags and source == "f32":
            data = flushed(data)
        for rounding, function in ROUNDINGS.items():
            if rounding in flags:
                data = function(data)
        to = KINDS[target]
        if to.is_float:
            if "sat" in flags:
                data = np.clip(np.nan_to_num(data, nan=0.0), 0, 1)
            return to.encode(data.astype(np.float32) if target == "bf16" else data)
        number = to.decode(np.zeros(1, unsigned(to.bits))).dtype
        if KINDS[source].is_float:
            return to.encode(numerics.saturating_integers(data, number))
        if "sat" in flags:
            limits = np.iinfo(number)
            data = np.clip(data.astype(object), limits.min, limits.max)
        return to.encode(data.astype(number))


def run_inline(
    text: str, constraints: str, inputs: Sequence[Array], outputs: Sequence[np.dtype[Any]], pack: int
) -> list[Array]:
    """Apply inline assembly to blocks of one shape, `pack` elements at a time.

    `inputs` are raw arrays (bfloat16 as uint16), `outputs` the raw dtypes of the results, which have the
    inputs' shape. Elements of less than 32 bits share registers, the first in the low bits. Raises
    UnsupportedPtx for assembly that is not straight-line arithmetic or does not fit its constraints.
    """
    shape = inputs[0].shape
    size = inputs[0].size
    groups = -(-size // pack)
    registers: list[Array] = []
    for data in inputs:
        bits = 8 * data.dtype.itemsize
        flat = np.resize(np.ascontiguousarray(data).reshape(-1).view(unsigned(bits)), groups * pack)
        registers += _into_registers(flat.reshape(groups, pack), bits, pack)
    wanted = sum(_count(8 * dtype.itemsize, pack) for dtype in outputs)
    given = [part.strip() for part in constraints.split(",") if not part.strip().startswith("~")]
    stated = sum(part.startswith("=") for part in given)
    if stated != wanted or len(given) - stated != len(registers):
        raise UnsupportedPtx(
            f"expected constraints for {wanted} output and {len(registers)} input registers, "
            f"got {constraints!r} with pack={pack}"
        )
    results = Program(text, wanted).run(registers)
    made: list[Array] = []
    for dtype in outputs:
        bits = 8 * dtype.itemsize
        count = _count(bits, pack)
        mine, results = results[:count], results[count:]
        flat = _from_registers(mine, bits, pack, groups)
        made.append(flat.reshape(-1)[:size].view(dtype).reshape(shape))
    return made


def _each(bits: int, pack: int) -> int:
    return min(max(_REGISTER_BITS // bits, 1), pack)


def _count(bits: int, pack: int) -> int:
    return -(-pack // _each(bits, pack))


def _into_registers(elements: Array, bits: int, pack: int) -> list[Array]:
    each = _each(bits, pack)
    if each == 1:
        return [np.ascontiguousarray(elements[:, at]) for at in range(pack)]
    registers = []
    for first in range(0, pack, each):
        word = np.zeros(elements.shape[0], np.uint32)
        for at in range(min(each, pack - first)):
            word |= elements[:, first + at].astype(np.uint32) << np.uint32(bits * at)
        registers.append(word)
    return registers


def _from_registers(registers: Sequence[Array], bits: int, pack: int, groups: int) -> Array:
    each, dtype = _each(bits, pack), unsigned(bits)
    elements = np.empty((groups, pack), dtype)
    for at in range(pack):
        word = registers[at // each]
        if word.dtype == np.bool_:
            word = word.astype(np.uint32)
        shift = word.dtype.type(bits * (at % each))
        elements[:, at] = (word >> shift if each > 1 else word).astype(dtype)
    return elements
