"""Cases that fla's recurrent operators share: shapes, lengths, layouts and gates at which such kernels have
been wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from verify.foreign.spec import Case, Input, Output, Properties, Resume

STATE: Mapping[str, Any] = {"output_final_state": True}
WITH_STATE = ("initial_state",)

SLACK: Mapping[str, float] = {"float32": 4.0}
SLACK_WHY = (
    "a chunk's log-gates are added up before differences of the sums are exponentiated: a sum of 64 typical "
    "gates is near 50, and float32 rounds it by some 3e-6, which is relative to every weight of the chunk"
)

GATE_CANCELS = (
    "the gradient by a log-gate is a reverse cumulative sum of q dq - k dk over tokens; behind steep gates "
    "the terms cancel, and what is left is their rounding: some 1e-6 of them, in a gradient that is smaller"
)


def recurrent_inputs(*, keys: str = "normal", heads: str = "H") -> tuple[Input, ...]:
    """q, k, v, the first state, and the borders of packed sequences. `keys` is the domain of q and k."""
    unit = keys == "unit_norm"
    return (
        Input(name="q", dims="B T H K", domain="unit_norm" if unit else "normal"),
        Input(name="k", dims="B T H K", domain="unit_norm" if unit else "normal"),
        Input(name="v", dims=f"B T {heads} V"),
        Input(name="initial_state", dims=f"N {heads} K V", dtype="float32", optional=True),
        Input(name="cu_seqlens", dims="N+1", domain="offsets", dtype="int64", optional=True),
    )


def recurrent_outputs(*, heads: str = "H") -> tuple[Output, ...]:
    """The output, and the last state where the option asks for it."""
    return (
        Output(name="o", dims=f"B T {heads} V"),
        Output(name="final_state", dims=f"N {heads} K V", dtype="float32", state=True),
    )


def CASES(  # noqa: N802  # a table with a parameter
    *gates: str, extra: Mapping[str, int] | None = None, short: bool = False
) -> tuple[Case, ...]:
    """The common cases, with these optional inputs in all. `short` keeps a recurrent kernel's T low."""
    more = dict(extra or {})

    def sizes(B: int, T: int, H: int, K: int, V: int) -> dict[str, int]:
        return {"B": B, "T": min(T, 40) if short else T, "H": H, "K": K, "V": V, "N": B, **more}

    def case(name: str, shape: dict[str, int], *given: str, **rest: Any) -> Case:
        return Case(name=name, sizes=shape, given=(*gates, *given), **rest)

    state: dict[str, Any] = {"options": STATE}
    packed = {key: value for key, value in sizes(1, 1, 2, 16, 32).items() if key not in ("T", "N")}
    lengths = (1, 15, 17) if short else (1, 15, 64, 33)
    return (
        case("ragged", sizes(2, 67, 2, 20, 12), *WITH_STATE, depth="quick", **state),
        case("one token", sizes(1, 1, 1, 16, 16), *WITH_STATE, **state),
        case("shorter than a chunk", sizes(1, 13, 2, 32, 16)),
        case("whole chunks", sizes(1, 128, 1, 16, 16), *WITH_STATE, **state),
        case("wide values", sizes(1, 65, 1, 16, 136)),
        case("wide keys", sizes(1, 65, 1, 80, 16), *WITH_STATE, **state),
        case("packed", packed, "cu_seqlens", lengths=lengths),
        case("packed, with states", packed, "cu_seqlens", *WITH_STATE, lengths=lengths, **state),
        case("strided inputs", sizes(2, 66, 2, 16, 24), *WITH_STATE, layout="transposed", **state),
        case("NaN between rows", sizes(1, 66, 2, 24, 16), layout="gapped"),
        case("NaN around the storage", sizes(2, 37, 1, 16, 16), *WITH_STATE, layout="tail", **state),
        case("unaligned storage", sizes(1, 37, 2, 16, 16), layout="unaligned"),
        case("strided cotangents", sizes(2, 66, 2, 16, 24), *WITH_STATE, cotangent="transposed", **state),
        case("expanded cotangents", sizes(1, 66, 2, 16, 24), cotangent="expanded"),
        case("strong gates", sizes(1, 130, 1, 16, 16), *WITH_STATE, gate="strong", **state),
        case("no decay", sizes(1, 66, 1, 16, 16), *WITH_STATE, gate="none", **state),
        case("only the state's gradient", sizes(1, 66, 1, 16, 16), *WITH_STATE, needs=WITH_STATE, **state),
        case("another scale", sizes(1, 66, 1, 16, 16), options={"scale": 0.5}),
    )


def PROPERTIES(  # noqa: N802  # see CASES
    *gates: str,
    extra: Mapping[str, int] | None = None,
    chunks: tuple[str, tuple[int, ...]] | None = None,
    short: bool = False,
    dtypes: tuple[str, ...] | None = None,
) -> Properties:
    """Causal, independent in the batch, resumable, the same packed."""
    length = 40 if short else 100
    return Properties(
        case=Case(
            name="properties",
            sizes={"B": 2, "T": length, "H": 2, "K": 16, "V": 16, "N": 2, **(extra or {})},
            given=gates,
            dtypes=dtypes,
        ),
        causal=True,
        batch=True,
        resume=Resume(
            input="initial_state", output="final_state", options=STATE, cuts=(17,) if short else (17, 64)
        ),
        chunks=chunks,
        packed="cu_seqlens",
    )


def COMPILE(*gates: str, extra: Mapping[str, int] | None = None) -> Case:  # noqa: N802  # see CASES
    """What people train with: bfloat16, head size 64, every size a multiple of 16. No kernel runs at it."""
    return Case(
        name="usual",
        sizes={"B": 2, "T": 2048, "H": 16, "K": 64, "V": 64, "N": 2, **(extra or {})},
        given=(*gates, *WITH_STATE),
        options=STATE,
        dtypes=("bfloat16",),
    )
