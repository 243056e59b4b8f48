"""fla `chunk_delta_rule`: the delta rule in chunks of 64; keys of norm 1.

S_t = S_{t-1} + beta_t k_t (v_t - S_{t-1}^T k_t)^T,   o_t = K^-0.5 S_t^T q_t.   Source: Yang et al. 2024.
"""

from __future__ import annotations

from typing import Any

from fla.ops.delta_rule import chunk_delta_rule

from verify.foreign.fla_cases import CASES, COMPILE, PROPERTIES, recurrent_inputs, recurrent_outputs
from verify.foreign.references import delta_state, unit_length
from verify.foreign.spec import Case, Deviation, Input, Spec

SMALL = {"B": 1, "T": 70, "H": 2, "K": 16, "V": 24, "N": 1}


def call(**arguments: Any) -> Any:
    return chunk_delta_rule(**arguments)


def reference(
    q: Any,
    k: Any,
    v: Any,
    beta: Any,
    *,
    scale: float | None = None,
    initial_state: Any | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = False,
    cu_seqlens: Any | None = None,
    chunk_size: int = 64,
) -> Any:
    del chunk_size
    if use_qk_l2norm_in_kernel:
        q, k = unit_length(q), unit_length(k)
    o, state = delta_state(
        q,
        k,
        v,
        beta,
        q.new_zeros(beta.shape),
        scale=q.shape[-1] ** -0.5 if scale is None else scale,
        initial_state=initial_state,
        cu_seqlens=cu_seqlens,
    )
    return o, state if output_final_state else None


SPEC = Spec(
    name="fla chunk_delta_rule",
    requires=("fla-core==0.6.0",),
    source="https://github.com/fla-org/flash-linear-attention, fla/ops/delta_rule/chunk.py",
    call=call,
    reference=reference,
    inputs=(
        *recurrent_inputs(keys="unit_norm"),
        Input(name="beta", dims="B T H", domain="unit_interval"),
    ),
    outputs=recurrent_outputs(),
    dtypes=("float16", "bfloat16"),
    cases=(
        *CASES(),
        Case(name="normalised inside", sizes=SMALL, options={"use_qk_l2norm_in_kernel": True}),
    ),
    properties=PROPERTIES(chunks=("chunk_size", (16, 32))),
    compile_case=COMPILE(),
    deviations=(
        Deviation(
            rule="CMP-SPILL",
            kind="design",
            message="prepare_wy_repr_bwd_kernel",
            why="on Hopper the library tries 2 warps only, since it saw 4 miscompiled; with 2 it "
            "spills, and on the other targets the launch is the same because it was recorded so",
            where="fla/ops/delta_rule/wy_fast.py:18 to 22",
        ),
    ),
)
