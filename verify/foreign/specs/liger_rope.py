"""Liger `LigerRopeFunction`: rotary position embedding of the halves of each head, as Llama's.

(x1, x2) -> (x1 cos - x2 sin, x2 cos + x1 sin), x1 and x2 the halves of the leading R features.
"""

from __future__ import annotations

from typing import Any

import torch
from liger_kernel.ops.rope import LigerRopeFunction

from verify.foreign.spec import Case, Deviation, Input, Output, Properties, Spec


def call(q: Any, k: Any, cos: Any, sin: Any) -> Any:
    twice = (torch.cat([x, x], dim=-1) for x in (cos, sin))
    return LigerRopeFunction.apply(q, k, *twice)


def reference(q: Any, k: Any, cos: Any, sin: Any) -> Any:
    return rotated(q, cos, sin), rotated(k, cos, sin)


def rotated(x: Any, cos: Any, sin: Any) -> Any:
    half = cos.shape[-1]
    first, second, rest = x[..., :half], x[..., half : 2 * half], x[..., 2 * half :]
    c, s = cos[:, None], sin[:, None]
    return torch.cat([first * c - second * s, second * c + first * s, rest], dim=-1)


def case(name: str, sizes: dict[str, int], **rest: Any) -> Case:
    usual = {"B": 2, "T": 7, "HQ": 2, "H": 1, "D": 16, "R": 8}
    return Case(name=name, sizes={**usual, **sizes}, **rest)


SPEC = Spec(
    name="Liger rope",
    requires=("liger-kernel==0.8.5",),
    source="https://github.com/linkedin/Liger-Kernel, src/liger_kernel/ops/rope.py",
    call=call,
    reference=reference,
    inputs=(
        Input(name="q", dims="B HQ T D"),
        Input(name="k", dims="B H T D"),
        Input(name="cos", dims="1 T R", domain="unit_interval", differentiable=False),
        Input(name="sin", dims="1 T R", domain="unit_interval", differentiable=False),
    ),
    outputs=(Output(name="rq", dims="B HQ T D"), Output(name="rk", dims="B H T D")),
    cases=(
        case("grouped", {}, depth="quick"),
        case("one token", {"B": 1, "T": 1}),
        case("many heads", {"HQ": 6, "H": 3}),
        case("odd half", {"D": 10, "R": 5}),
        case("no power of two", {"D": 24, "R": 12, "T": 33}),
        case("part of the head", {"D": 20, "R": 6}),
        case("strided inputs", {}, layout="transposed"),
        case("NaN between rows", {}, layout="gapped"),
        case("NaN around the storage", {}, layout="tail"),
        case("strided cotangents", {}, cotangent="transposed"),
        case("expanded cotangents", {}, cotangent="expanded"),
        case("only keys", {}, needs=("k",)),
    ),
    properties=Properties(case=case("properties", {"T": 70}), causal=True, batch=True),
    compile_case=case("usual", {"B": 2, "T": 2048, "HQ": 16, "H": 4, "D": 64, "R": 32}, dtypes=("bfloat16",)),
    deviations=(
        Deviation(
            rule="MEM-INPUT-CHANGED",
            kind="design",
            why="the rotation is stored over q and k, and over their gradients, wherever (B, T, H, D) memory "
            "makes `contiguous()` no copy: its caller has just made them",
            where="rope.py, rope_forward and rope_backward: `q = q.contiguous()`, then the kernel writes q",
        ),
    ),
)
