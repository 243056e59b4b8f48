"""fla `chunk_retention`: linear attention with the fixed decay log(1 - 2^(-5-h)) of head h.

S_t = (1 - 2^(-5-h)) S_{t-1} + k_t v_t^T,   o_t = K^-0.5 S_t^T q_t.   Source: Sun et al. 2023, RetNet.
"""

from __future__ import annotations

from typing import Any

import torch
from fla.ops.retention import chunk_retention

from verify.foreign.fla_cases import CASES, COMPILE, PROPERTIES, recurrent_inputs, recurrent_outputs
from verify.foreign.references import linear_state
from verify.foreign.spec import Spec


def call(**arguments: Any) -> Any:
    return chunk_retention(**arguments)


def reference(
    q: Any,
    k: Any,
    v: Any,
    *,
    scale: float | None = None,
    initial_state: Any | None = None,
    output_final_state: bool = False,
    cu_seqlens: Any | None = None,
    chunk_size: int = 64,
) -> Any:
    del chunk_size
    head = torch.arange(q.shape[2], dtype=q.dtype)
    decay = torch.log1p(-torch.exp2(-5.0 - head))
    o, state = linear_state(
        q,
        k,
        v,
        decay[None, None, :, None, None],
        scale=q.shape[-1] ** -0.5 if scale is None else scale,
        initial_state=initial_state,
        cu_seqlens=cu_seqlens,
    )
    return o, state if output_final_state else None


SPEC = Spec(
    name="fla chunk_retention",
    requires=("fla-core==0.6.0",),
    source="https://github.com/fla-org/flash-linear-attention, fla/ops/retention/chunk.py",
    call=call,
    reference=reference,
    inputs=recurrent_inputs(),
    outputs=recurrent_outputs(),
    cases=CASES(),
    properties=PROPERTIES(chunks=("chunk_size", (16, 32))),
    compile_case=COMPILE(),
)
