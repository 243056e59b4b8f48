"""Liger `LigerRMSNormFunction`: rows over their root mean square, times a weight.

y = x / sqrt(mean(x^2) + eps) * (w + offset).   Source: Zhang and Sennrich 2019.
"""

from __future__ import annotations

from typing import Any

import torch
from liger_kernel.ops.rms_norm import LigerRMSNormFunction

from verify.foreign.spec import Case, Deviation, Input, Output, Properties, Spec


def call(
    x: Any,
    w: Any | None = None,
    *,
    eps: float = 1e-6,
    offset: float = 0.0,
    casting_mode: str = "llama",
    in_place: bool = True,
    row_mode: bool | None = None,
) -> Any:
    return LigerRMSNormFunction.apply(x, w, eps, offset, casting_mode, in_place, row_mode)


def reference(
    x: Any,
    w: Any | None = None,
    *,
    eps: float = 1e-6,
    offset: float = 0.0,
    casting_mode: str = "llama",
    in_place: bool = True,
    row_mode: bool | None = None,
) -> Any:
    del casting_mode, in_place, row_mode
    y = x * torch.rsqrt((x * x).mean(-1, keepdim=True) + eps)
    return y if w is None else y * (w + offset)


def case(name: str, B: int, T: int, D: int, *given: str, **rest: Any) -> Case:
    return Case(name=name, sizes={"B": B, "T": T, "D": D}, given=given, **rest)


SPEC = Spec(
    name="Liger rms_norm",
    requires=("liger-kernel==0.8.5",),
    source="https://github.com/linkedin/Liger-Kernel, src/liger_kernel/ops/rms_norm.py",
    call=call,
    reference=reference,
    inputs=(Input(name="x", dims="B T D"), Input(name="w", dims="D", optional=True)),
    outputs=(Output(name="y", dims="B T D"),),
    cases=(
        case("ragged", 2, 7, 40, "w", depth="quick"),
        case("one element", 1, 1, 1, "w"),
        case("power of two", 2, 3, 64, "w"),
        case("more rows than processors", 1, 300, 12, "w"),
        case("wide", 1, 3, 1030, "w"),
        case("no weight", 2, 7, 40),
        case("gemma", 2, 7, 40, "w", options={"casting_mode": "gemma", "offset": 1.0}),
        case("no casts", 2, 7, 40, "w", options={"casting_mode": "none"}, dtypes=("float32",)),
        case("not in place", 2, 7, 40, "w", options={"in_place": False}),
        case("small values", 2, 7, 40, "w", scale=0.001),
        case("strided inputs", 2, 7, 40, "w", layout="transposed"),
        case("NaN between rows", 2, 7, 40, "w", layout="gapped"),
        case("NaN around the storage", 2, 7, 40, "w", layout="tail"),
        case("strided cotangents", 2, 7, 40, "w", cotangent="transposed"),
        case("expanded cotangents", 2, 7, 40, "w", cotangent="expanded"),
        case("only the weight's gradient", 2, 7, 40, "w", needs=("w",)),
        case("only the input's gradient", 2, 7, 40, "w", needs=("x",)),
    ),
    properties=Properties(case=case("properties", 2, 70, 40, "w"), causal=True, batch=True),
    compile_case=case("usual", 2, 2048, 4096, "w", dtypes=("bfloat16",)),
    deviations=(
        Deviation(
            rule="MEM-INPUT-CHANGED",
            kind="design",
            message="d_y",
            why="in_place=True, the default, writes dX over dY to save memory, and says so",
            where="rms_norm.py, rms_norm_backward: `if in_place is True: dX = dY`",
        ),
    ),
)
