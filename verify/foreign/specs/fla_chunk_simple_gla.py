"""fla `chunk_simple_gla`: linear attention with one decay a head and token, in chunks of 64.

S_t = exp(g_t) S_{t-1} + k_t v_t^T,   o_t = K^-0.5 S_t^T q_t.   Source: fla, ops/simple_gla.
"""

from __future__ import annotations

from typing import Any

from fla.ops.simple_gla import chunk_simple_gla

from verify.foreign.fla_cases import (
    CASES,
    COMPILE,
    PROPERTIES,
    SLACK,
    SLACK_WHY,
    STATE,
    WITH_STATE,
    recurrent_inputs,
    recurrent_outputs,
)
from verify.foreign.references import linear_state
from verify.foreign.spec import Case, Input, Spec


def call(**arguments: Any) -> Any:
    return chunk_simple_gla(**arguments)


def reference(
    q: Any,
    k: Any,
    v: Any,
    g: Any | None = None,
    g_gamma: Any | None = None,
    *,
    scale: float | None = None,
    initial_state: Any | None = None,
    output_final_state: bool = False,
    cu_seqlens: Any | None = None,
    chunk_size: int = 64,
    state_v_first: bool = False,
) -> Any:
    del chunk_size
    decay = q.new_zeros(q.shape[:3])
    decay = decay if g is None else decay + g
    decay = decay if g_gamma is None else decay + g_gamma
    if initial_state is not None and state_v_first:
        initial_state = initial_state.transpose(-1, -2)
    o, state = linear_state(
        q,
        k,
        v,
        decay[..., None, None],
        scale=q.shape[-1] ** -0.5 if scale is None else scale,
        initial_state=initial_state,
        cu_seqlens=cu_seqlens,
    )
    state = state.transpose(-1, -2) if state_v_first else state
    return o, state if output_final_state else None


SPEC = Spec(
    name="fla chunk_simple_gla",
    requires=("fla-core==0.6.0",),
    source="https://github.com/fla-org/flash-linear-attention, fla/ops/simple_gla/chunk.py",
    call=call,
    reference=reference,
    inputs=(
        *recurrent_inputs(),
        Input(name="g", dims="B T H", domain="log_sigmoid", dtype="float32", optional=True),
        Input(
            name="g_gamma", dims="H", domain="log_decay", dtype="float32", optional=True, differentiable=False
        ),
    ),
    outputs=recurrent_outputs(),
    cases=(
        *CASES("g"),
        Case(name="no gate", sizes={"B": 1, "T": 70, "H": 1, "K": 16, "V": 16, "N": 1}),
        Case(
            name="fixed decay", sizes={"B": 1, "T": 70, "H": 2, "K": 16, "V": 16, "N": 1}, given=("g_gamma",)
        ),
        Case(
            name="state with values first",
            sizes={"B": 1, "T": 70, "H": 2, "K": 16, "V": 16, "N": 1},
            given=("g", *WITH_STATE),
            options={**STATE, "state_v_first": True},
        ),
    ),
    slack=SLACK,
    slack_why=SLACK_WHY,
    properties=PROPERTIES("g", chunks=("chunk_size", (16, 32))),
    compile_case=COMPILE("g"),
)
