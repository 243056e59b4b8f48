"""fla `chunk_gla`: linear attention with one decay for each key feature, in chunks.

S_t = diag(exp(g_t)) S_{t-1} + k_t v_t^T,   o_t = K^-0.5 S_t^T q_t.   Source: Yang et al. 2023, GLA.
"""

from __future__ import annotations

from typing import Any

from fla.ops.gla import chunk_gla

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
from verify.foreign.references import linear_state
from verify.foreign.spec import Case, Deviation, Input, Spec


def call(**arguments: Any) -> Any:
    return chunk_gla(**arguments)


def reference(
    q: Any,
    k: Any,
    v: Any,
    g: Any,
    *,
    scale: float | None = None,
    initial_state: Any | None = None,
    output_final_state: bool = False,
    cu_seqlens: Any | None = None,
    state_v_first: bool = False,
) -> Any:
    if initial_state is not None and state_v_first:
        initial_state = initial_state.transpose(-1, -2)
    o, state = linear_state(
        q,
        k,
        v,
        g[..., None],
        scale=q.shape[-1] ** -0.5 if scale is None else scale,
        initial_state=initial_state,
        cu_seqlens=cu_seqlens,
    )
    state = state.transpose(-1, -2) if state_v_first else state
    return o, state if output_final_state else None


SPEC = Spec(
    name="fla chunk_gla",
    requires=("fla-core==0.6.0",),
    source="https://github.com/fla-org/flash-linear-attention, fla/ops/gla/chunk.py",
    call=call,
    reference=reference,
    inputs=(*recurrent_inputs(), Input(name="g", dims="B T H K", domain="log_sigmoid", dtype="float32")),
    outputs=recurrent_outputs(),
    cases=(
        *CASES(),
        Case(
            name="state with values first",
            sizes={"B": 1, "T": 70, "H": 2, "K": 16, "V": 16, "N": 1},
            given=WITH_STATE,
            options={**STATE, "state_v_first": True},
        ),
    ),
    slack=SLACK,
    slack_why=SLACK_WHY,
    properties=PROPERTIES(),
    compile_case=COMPILE(),
    deviations=(
        Deviation(
            rule="GRD-VALUE",
            kind="precision",
            case="strong",
            message="d_g[",
            why=GATE_CANCELS,
            where="fla/ops/gla/chunk.py:878 to 880",
        ),
        Deviation(
            rule="MEM-UNWRITTEN-READ",
            kind="design",
            message="of A,",
            why="blocks of A above the diagonal are never written; the kernels load them with the rest and "
            "put zeros in their place (tl.where) before they use any. Other poison gives the same bits",
            where="fla/ops/gla/chunk.py:452 and 721",
        ),
    ),
)
