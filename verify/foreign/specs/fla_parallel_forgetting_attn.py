"""fla `parallel_forgetting_attn`: causal softmax attention whose scores decay by the gates in between.

o_i = sum_j softmax_j(K^-0.5 q_i k_j + sum_{j<t<=i} g_t) v_j.   Source: Lin et al. 2025, FoX.
"""

from __future__ import annotations

from typing import Any

from fla.ops.forgetting_attn import parallel_forgetting_attn

from verify.foreign.attention_cases import (
    TILES,
    attention_cases,
    attention_compile,
    attention_inputs,
    attention_properties,
)
from verify.foreign.references import causal_attention
from verify.foreign.spec import Case, Input, Output, Spec

SMALL = {"B": 2, "T": 130, "HQ": 2, "H": 1, "K": 16, "V": 16}


def call(**arguments: Any) -> Any:
    return parallel_forgetting_attn(**arguments)


def reference(
    q: Any,
    k: Any,
    v: Any,
    g: Any,
    *,
    scale: float | None = None,
    window_size: int | None = None,
    cu_seqlens: Any | None = None,
) -> Any:
    return causal_attention(
        q,
        k,
        v,
        scale=q.shape[-1] ** -0.5 if scale is None else scale,
        log_decay=g,
        window=window_size,
        cu_seqlens=cu_seqlens,
    )


SPEC = Spec(
    name="fla parallel_forgetting_attn",
    requires=("fla-core==0.6.0",),
    source="https://github.com/fla-org/flash-linear-attention, fla/ops/forgetting_attn/parallel.py",
    call=call,
    reference=reference,
    inputs=(
        *attention_inputs(),
        Input(name="g", dims="B T HQ", domain="log_sigmoid", dtype="float32"),
    ),
    outputs=(Output(name="o", dims="B T HQ V"),),
    cases=(
        *attention_cases(),
        Case(name="strong gates", sizes=SMALL, gate="strong"),
        Case(name="no decay", sizes=SMALL, gate="none"),
    ),
    properties=attention_properties(),
    compile_case=attention_compile(),
    deviations=(TILES,),
)
