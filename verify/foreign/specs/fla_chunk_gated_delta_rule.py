"""fla `chunk_gated_delta_rule`: the delta rule with a decay; heads of values may outnumber those of keys.

S_t = a_t S_{t-1} + beta_t k_t (v_t - a_t S_{t-1}^T k_t)^T,  a_t = exp(g_t),  o_t = K^-0.5 S_t^T q_t.
Source: Yang et al. 2024, Gated Delta Networks.
"""

from __future__ import annotations

from typing import Any

import torch
from fla.ops.gated_delta_rule import chunk_gated_delta_rule

from verify.foreign.fla_cases import (
    CASES,
    COMPILE,
    GATE_CANCELS,
    PROPERTIES,
    SLACK,
    SLACK_WHY,
    STATE,
    WITH_STATE,
    recurrent_inputs,
    recurrent_outputs,
)
from verify.foreign.references import delta_state, unit_length
from verify.foreign.spec import Case, Deviation, Input, Spec

SMALL = {"B": 1, "T": 70, "H": 2, "HV": 2, "K": 16, "V": 24, "N": 1}
SAME = {"HV": 2}


def call(**arguments: Any) -> Any:
    return chunk_gated_delta_rule(**arguments)


def reference(
    q: Any,
    k: Any,
    v: Any,
    g: Any,
    beta: Any,
    *,
    scale: float | None = None,
    initial_state: Any | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = False,
    use_beta_sigmoid_in_kernel: bool = False,
    allow_neg_eigval: bool = False,
    cu_seqlens: Any | None = None,
    chunk_size: int = 64,
) -> Any:
    del chunk_size
    if use_qk_l2norm_in_kernel:
        q, k = unit_length(q), unit_length(k)
    if use_beta_sigmoid_in_kernel:
        beta = torch.sigmoid(beta) * (2.0 if allow_neg_eigval else 1.0)
    groups = v.shape[2] // q.shape[2]
    q, k = (x.repeat_interleave(groups, dim=2) for x in (q, k))
    o, state = delta_state(
        q,
        k,
        v,
        beta,
        g,
        scale=q.shape[-1] ** -0.5 if scale is None else scale,
        initial_state=initial_state,
        cu_seqlens=cu_seqlens,
    )
    return o, state if output_final_state else None


SPEC = Spec(
    name="fla chunk_gated_delta_rule",
    requires=("fla-core==0.6.0",),
    source="https://github.com/fla-org/flash-linear-attention, fla/ops/gated_delta_rule/chunk.py",
    call=call,
    reference=reference,
    inputs=(
        *recurrent_inputs(keys="unit_norm", heads="HV"),
        Input(name="g", dims="B T HV", domain="log_sigmoid", dtype="float32"),
        Input(name="beta", dims="B T HV", domain="unit_interval"),
    ),
    outputs=recurrent_outputs(heads="HV"),
    cases=(
        *CASES(extra=SAME),
        Case(
            name="grouped values",
            sizes={**SMALL, "HV": 4, "B": 2, "N": 2},
            given=WITH_STATE,
            options=STATE,
        ),
        Case(name="normalised inside", sizes=SMALL, options={"use_qk_l2norm_in_kernel": True}),
        Case(
            name="sigmoid inside, negative eigenvalues",
            sizes=SMALL,
            options={"use_beta_sigmoid_in_kernel": True, "allow_neg_eigval": True},
        ),
    ),
    dot_precision="tf32",  # chunk_fwd.py:21 asks for it in the triangular solve, whatever the default is
    slack=SLACK,
    slack_why=SLACK_WHY,
    properties=PROPERTIES(extra=SAME, chunks=("chunk_size", (16, 32))),
    compile_case=COMPILE(extra={"HV": 16}),
    deviations=(
        Deviation(
            rule="GRD-VALUE",
            kind="precision",
            case="strong gates, float32",
            message="d_g[",
            why=f"{GATE_CANCELS}. Here the terms come from TF32 dots, whose rounding is 1e-3",
            where="fla/ops/common/chunk_o.py:316 and 320",
        ),
    ),
)
