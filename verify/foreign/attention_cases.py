"""Cases that fla's softmax operators share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from verify.foreign.spec import Case, Deviation, Input, Properties

TILES = Deviation(
    rule="CMP-SPILL",
    kind="design",
    case="gfx942",
    message="parallel_attn_bwd_kernel",
    why="the launch was recorded as for an H100, with tiles of 128 x 64; on AMD the library takes 64 x 32",
    where="fla/ops/attn/parallel.py:625 to 639",
)


def attention_inputs() -> tuple[Input, ...]:
    """q, k, v and the borders of packed sequences; H heads of keys serve HQ queries."""
    return (
        Input(name="q", dims="B T HQ K"),
        Input(name="k", dims="B T H K"),
        Input(name="v", dims="B T H V"),
        Input(name="cu_seqlens", dims="N+1", domain="offsets", dtype="int64", optional=True),
    )


def _sizes(B: int, T: int, HQ: int, H: int, K: int, V: int) -> dict[str, int]:
    return {"B": B, "T": T, "HQ": HQ, "H": H, "K": K, "V": V}


def attention_cases(*given: str) -> tuple[Case, ...]:
    """The common cases, with these optional inputs in all of them."""

    def case(name: str, sizes: Mapping[str, int], *more: str, **rest: Any) -> Case:
        return Case(name=name, sizes=sizes, given=(*given, *more), **rest)

    packed = {key: value for key, value in _sizes(1, 1, 2, 1, 16, 32).items() if key != "T"}
    return (
        case("ragged", _sizes(2, 67, 4, 2, 20, 12), depth="quick"),
        case("one token", _sizes(1, 1, 1, 1, 16, 16)),
        case("shorter than a block", _sizes(1, 13, 2, 2, 32, 16)),
        case("whole blocks", _sizes(1, 128, 1, 1, 16, 16)),
        case("just above a block", _sizes(1, 129, 2, 1, 16, 16)),
        case("wide values", _sizes(1, 65, 1, 1, 16, 136)),
        case("wide keys", _sizes(1, 65, 1, 1, 80, 16)),
        case("packed", packed, "cu_seqlens", lengths=(1, 15, 64, 33)),
        case("window", _sizes(1, 150, 2, 1, 16, 16), options={"window_size": 20}),
        case("window of one block", _sizes(1, 150, 1, 1, 16, 16), options={"window_size": 64}),
        case("packed, window", packed, "cu_seqlens", lengths=(1, 70, 33), options={"window_size": 9}),
        case("strided inputs", _sizes(2, 66, 2, 2, 16, 24), layout="transposed"),
        case("NaN between rows", _sizes(1, 66, 2, 1, 24, 16), layout="gapped"),
        case("NaN around the storage", _sizes(2, 37, 2, 1, 16, 16), layout="tail"),
        case("unaligned storage", _sizes(1, 37, 2, 1, 16, 16), layout="unaligned"),
        case("strided cotangents", _sizes(2, 66, 2, 2, 16, 24), cotangent="transposed"),
        case("expanded cotangents", _sizes(1, 66, 2, 1, 16, 24), cotangent="expanded"),
        case("sharp", _sizes(1, 66, 2, 1, 16, 16), scale=4.0),
        case("another scale", _sizes(1, 66, 2, 1, 16, 16), options={"scale": 0.5}),
    )


def attention_properties(*given: str) -> Properties:
    """Causal, independent in the batch, the same packed; there is no state to hand on."""
    return Properties(
        case=Case(name="properties", sizes=_sizes(2, 100, 2, 1, 16, 16), given=given),
        causal=True,
        batch=True,
        packed="cu_seqlens",
    )


def attention_compile(*given: str) -> Case:
    """What people train with."""
    return Case(name="usual", sizes=_sizes(2, 2048, 16, 4, 64, 64), given=given, dtypes=("bfloat16",))
