"""fla `fused_recurrent_gla`: gated linear attention token by token, with decays of keys and of values.

S_t = diag(exp(gk_t)) S_{t-1} diag(exp(gv_t)) + k_t v_t^T,   o_t = K^-0.5 S_t^T q_t.
Source: Yang et al. 2023, GLA.
"""

from __future__ import annotations

from typing import Any

from fla.ops.gla import fused_recurrent_gla

from verify.foreign.fla_cases import (
    CASES,
    COMPILE,
    GATE_CANCELS,
    PROPERTIES,
    STATE,
    WITH_STATE,
    recurrent_inputs,
    recurrent_outputs,
)
from verify.foreign.references import linear_state
from verify.foreign.spec import Case, Deviation, Input, Spec

SMALL = {"B": 1, "T": 21, "H": 2, "K": 16, "V": 24, "N": 1}


def call(**arguments: Any) -> Any:
    return fused_recurrent_gla(**arguments)


def reference(
    q: Any,
    k: Any,
    v: Any,
    gk: Any | None = None,
    gv: Any | None = None,
    *,
    scale: float | None = None,
    initial_state: Any | None = None,
    output_final_state: bool = False,
    reverse: bool = False,
    cu_seqlens: Any | None = None,
) -> Any:
    decay = q.new_zeros(*q.shape[:3], 1, 1)
    decay = decay if gk is None else decay + gk[..., :, None]
    decay = decay if gv is None else decay + gv[..., None, :]
    if reverse:  # the last token first; packed sequences then come in reverse, with their states
        q, k, v, decay = (x.flip(1) for x in (q, k, v, decay))
        if cu_seqlens is not None:
            cu_seqlens = q.shape[1] - cu_seqlens.flip(0)
            initial_state = None if initial_state is None else initial_state.flip(0)
    o, state = linear_state(
        q,
        k,
        v,
        decay,
        scale=q.shape[-1] ** -0.5 if scale is None else scale,
        initial_state=initial_state,
        cu_seqlens=cu_seqlens,
    )
    if reverse:
        o, state = o.flip(1), state if cu_seqlens is None else state.flip(0)
    return o, state if output_final_state else None


SPEC = Spec(
    name="fla fused_recurrent_gla",
    requires=("fla-core==0.6.0",),
    source="https://github.com/fla-org/flash-linear-attention, fla/ops/gla/fused_recurrent.py",
    call=call,
    reference=reference,
    inputs=(
        *recurrent_inputs(),
        Input(name="gk", dims="B T H K", domain="log_sigmoid", dtype="float32", optional=True),
        Input(name="gv", dims="B T H V", domain="log_sigmoid", dtype="float32", optional=True),
    ),
    outputs=recurrent_outputs(),
    cases=(
        *CASES("gk", short=True),
        Case(name="no gates", sizes=SMALL),
        Case(name="gates of values", sizes=SMALL, given=("gv", *WITH_STATE), options=STATE),
        Case(name="both gates", sizes=SMALL, given=("gk", "gv", *WITH_STATE), options=STATE),
        Case(
            name="both gates, strong",
            sizes=SMALL,
            given=("gk", "gv", *WITH_STATE),
            options=STATE,
            gate="strong",
        ),
        Case(
            name="both gates, several blocks",
            sizes={"B": 1, "T": 9, "H": 1, "K": 80, "V": 72, "N": 1},
            given=("gk", "gv", *WITH_STATE),
            options=STATE,
        ),
        Case(
            name="reverse, packed",
            sizes={"B": 1, "H": 2, "K": 16, "V": 24},
            lengths=(1, 9, 5),
            given=("gk", "cu_seqlens", *WITH_STATE),
            options={**STATE, "reverse": True},
        ),
        Case(name="reverse", sizes=SMALL, given=("gk", *WITH_STATE), options={**STATE, "reverse": True}),
    ),
    properties=PROPERTIES("gk", short=True),
    compile_case=COMPILE("gk"),
    deviations=(
        Deviation(
            rule="GRD-VALUE",
            kind="precision",
            case="strong",
            message="d_g",
            why=GATE_CANCELS,
            where="fla/ops/common/fused_recurrent.py:363, 373 and 374",
        ),
    ),
)
