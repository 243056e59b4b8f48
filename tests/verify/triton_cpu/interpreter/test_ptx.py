"""Inline PTX computes what the instruction set says, bit by bit where it matters."""

from __future__ import annotations

import numpy as np
import pytest

from verify.triton_cpu.interpreter.ptx import UnsupportedPtx, run_inline

F4, U4, I4, U2 = (np.dtype(name) for name in ("f4", "u4", "i4", "u2"))


def one(text: str, constraints: str, *inputs: np.ndarray, output: np.dtype = F4, pack: int = 1) -> np.ndarray:
    return run_inline(text, constraints, inputs, [output], pack)[0]


def test_a_predicated_softplus_takes_each_branch_where_its_predicate_holds() -> None:
    x = np.array([[-1.0, 0.0], [3.0, 30.0]], np.float32)
    text = """{ .reg .pred p;  // large arguments pass through
        setp.gt.f32 p, $1, 20.;
        @p mov.f32 $0, $1;
        @!p mul.f32 $0, $1, 0f3FB8AA3B;
        @!p ex2.approx.ftz.f32 $0, $0;
        @!p add.f32 $0, $0, 1.0;
        @!p lg2.approx.ftz.f32 $0, $0;
        @!p mul.f32 $0, $0, 0f3F317218; }"""
    got = one(text, "=r,r", x)
    assert got.shape == (2, 2)
    np.testing.assert_allclose(got, np.where(x > 20, x, np.log1p(np.exp(x))), rtol=1e-6)


def test_four_bytes_share_a_register_and_come_back_as_numbers() -> None:
    a = np.arange(-4, 4, dtype=np.int8)
    b = np.linspace(-3, 3, 8, dtype=np.float32)
    text = """{ .reg .b8 tmp<4>;
        mov.b32 {tmp0, tmp1, tmp2, tmp3}, $8;
        cvt.s32.s8 $0, tmp0; cvt.s32.s8 $1, tmp1; cvt.s32.s8 $2, tmp2; cvt.s32.s8 $3, tmp3; }
        cvt.rn.f32.s32 $4, $0; cvt.rn.f32.s32 $5, $1; cvt.rn.f32.s32 $6, $2; cvt.rn.f32.s32 $7, $3;
        max.f32 $4, $4, $9; max.f32 $5, $5, $10; max.f32 $6, $6, $11; max.f32 $7, $7, $12;"""
    constraints = ",".join(["=r"] * 8 + ["r"] * 5)
    numbers, largest = run_inline(text, constraints, [a, b], [I4, F4], 4)
    assert numbers.tolist() == a.tolist()
    np.testing.assert_array_equal(largest, np.maximum(a.astype(np.float32), b))


def test_two_halves_are_added_in_their_own_precision() -> None:
    x = np.array([1.0, 2048.0, 0.5, -1.0], np.float16)
    y = np.array([2.0**-11, 1.0, 0.25, 1.0], np.float16)
    got = one("add.f16x2 $0, $1, $2;", "=r,r,r", x, y, output=np.dtype("f2"), pack=2)
    np.testing.assert_array_equal(got, x + y)


def test_a_packed_conversion_rounds_to_nearest_even_and_puts_the_first_operand_high() -> None:
    x = np.array([1.00390625, 1.01171875], np.float32)
    got = one("cvt.rn.bf16x2.f32 $0, $2, $1;", "=r,r,r", x, output=U2, pack=2)
    assert got.tolist() == [0x3F80, 0x3F82]


@pytest.mark.parametrize(
    ("text", "operands", "expected"),
    [
        ("mul.hi.u32 $0, $1, $2;", (0xFFFFFFFF, 0xFFFFFFFF), 0xFFFFFFFE),
        ("mul.lo.s32 $0, $1, $2;", (0x10001, 0x10001), 0x20001),
        ("add.u32 $0, $1, $2;", (0xFFFFFFFF, 2), 1),
        ("sub.u32 $0, $1, $2;", (1, 2), 0xFFFFFFFF),
        ("and.b32 $0, $1, $2;", (0b1100, 0b1010), 0b1000),
        ("or.b32 $0, $1, $2;", (0b1100, 0b1010), 0b1110),
        ("xor.b32 $0, $1, $2;", (0b1100, 0b1010), 0b0110),
        ("not.b32 $0, $1;", (0xFFFFFFF0, 0), 0xF),
        ("neg.s32 $0, $1;", (5, 0), 0xFFFFFFFB),
        ("shr.s32 $0, $1, $2;", (0x80000000, 40), 0xFFFFFFFF),
        ("shr.u32 $0, $1, $2;", (0x80000000, 32), 0),
        ("div.s32 $0, $1, $2;", (0xFFFFFFF9, 2), 0xFFFFFFFD),
        ("rem.s32 $0, $1, $2;", (0xFFFFFFF9, 2), 0xFFFFFFFF),
        (
            "lop3.b32 $0, $1, $2, 0xFF00FF00, 0x96;",
            (0x0F0F0F0F, 0x33333333),
            0x0F0F0F0F ^ 0x33333333 ^ 0xFF00FF00,
        ),
        ("prmt.b32 $0, $1, $2, 0x5410;", (0x33221100, 0x77665544), 0x55441100),
        ("prmt.b32 $0, $1, $2, 0x0008;", (0x00000080, 0), 0x808080FF),
        ("{.reg .pred p; setp.lt.u32 p, $1, $2; selp.b32 $0, 7, 9, p;}", (0xFFFFFFFF, 1), 9),
        ("{.reg .pred p; setp.lt.s32 p, $1, $2; selp.b32 $0, 7, 9, p;}", (0xFFFFFFFF, 1), 7),
    ],
)
def test_integer_instructions(text: str, operands: tuple[int, int], expected: int) -> None:
    x, y = (np.array([value], np.uint32) for value in operands)
    assert one(text, "=r,r,r", x, y, output=U4).tolist() == [expected]


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        ("cvt.rzi.s32.f32 $0, $1;", -2.9, 0xFFFFFFFE),
        ("cvt.rni.s32.f32 $0, $1;", 2.5, 2),
        ("cvt.rzi.u32.f32 $0, $1;", -1.0, 0),
        ("cvt.rzi.s32.f32 $0, $1;", np.nan, 0),
        ("cvt.rna.tf32.f32 $0, $1;", 1.0 + 2.0**-11, 0x3F802000),
        ("add.ftz.f32 $0, $1, 0f00000000;", 1e-40, 0),
        ("add.f32 $0, $1, 0f00000000;", 1e-40, 71362),
    ],
)
def test_conversions_round_and_saturate(text: str, value: float, expected: int) -> None:
    assert one(text, "=r,r", np.array([value], np.float32), output=U4).tolist() == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "bra DONE;",
        "LOOP: add.f32 $0, $1, $1;",
        "ld.global.f32 $0, [$1];",
        "add.rz.f32 $0, $1, $1;",
        "mad.something.f32 $0, $1, $1;",
        "mul.f32 $3, $1, $1;",
    ],
)
def test_what_cannot_be_computed_here_is_refused_by_name(text: str) -> None:
    with pytest.raises(UnsupportedPtx, match="expected"):
        one(text, "=r,r", np.ones(2, np.float32))


def test_constraints_that_do_not_fit_the_operands_are_refused() -> None:
    with pytest.raises(UnsupportedPtx, match="expected constraints for 2 output and 2 input registers"):
        one("mov.f32 $0, $1;", "=r,r", np.ones(2, np.float32), pack=2)
