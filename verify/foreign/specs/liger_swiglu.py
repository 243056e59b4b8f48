"""Liger `LigerSiLUMulFunction`: the gate of a feed-forward block.

y = down * silu(gate * a) * b, elementwise.   Source: Shazeer 2020, SwiGLU.
"""

from __future__ import annotations

from typing import Any

import torch
from liger_kernel.ops.swiglu import LigerSiLUMulFunction

from verify.foreign.spec import Case, Deviation, Input, Output, Properties, Spec


def call(a: Any, b: Any, *, gate_multiplier: float = 1.0, down_multiplier: float = 1.0) -> Any:
    return LigerSiLUMulFunction.apply(a, b, gate_multiplier, down_multiplier)


def reference(a: Any, b: Any, *, gate_multiplier: float = 1.0, down_multiplier: float = 1.0) -> Any:
    return down_multiplier * torch.nn.functional.silu(gate_multiplier * a) * b


def case(name: str, B: int, T: int, D: int, **rest: Any) -> Case:
    return Case(name=name, sizes={"B": B, "T": T, "D": D}, **rest)


SPEC = Spec(
    name="Liger swiglu",
    requires=("liger-kernel==0.8.5",),
    source="https://github.com/linkedin/Liger-Kernel, src/liger_kernel/ops/swiglu.py",
    call=call,
    reference=reference,
    inputs=(Input(name="a", dims="B T D"), Input(name="b", dims="B T D")),
    outputs=(Output(name="y", dims="B T D"),),
    cases=(
        case("ragged", 2, 7, 40, depth="quick"),
        case("one element", 1, 1, 1),
        case("power of two", 2, 3, 64),
        case("wide", 1, 3, 1030),
        case("multipliers", 2, 7, 40, options={"gate_multiplier": 0.5, "down_multiplier": 2.0}),
        case("large values", 2, 7, 40, scale=30.0),
        case("strided inputs", 2, 7, 40, layout="transposed"),
        case("NaN between rows", 2, 7, 40, layout="gapped"),
        case("NaN around the storage", 2, 7, 40, layout="tail"),
        case("strided cotangents", 2, 7, 40, cotangent="transposed"),
        case("expanded cotangents", 2, 7, 40, cotangent="expanded"),
        case("one gradient", 2, 7, 40, needs=("b",)),
    ),
    properties=Properties(case=case("properties", 2, 70, 40), causal=True, batch=True),
    compile_case=case("usual", 2, 2048, 4096, dtypes=("bfloat16",)),
    deviations=(
        Deviation(
            rule="MEM-INPUT-CHANGED",
            kind="design",
            why="the backward pass stores both gradients over the saved a and b, to save memory: afterwards "
            "the caller's contiguous a and b hold gradients, and a second backward would be wrong",
            where="swiglu.py, _swiglu_backward_kernel: `tl.store(a_ptr + col_offsets, da_row, mask=mask)`",
        ),
    ),
)
