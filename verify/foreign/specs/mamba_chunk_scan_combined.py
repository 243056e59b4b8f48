"""mamba-ssm `mamba_chunk_scan_combined`: the state space dual of Mamba-2, in chunks.

d_t = clamp(softplus(dt_t + dt_bias)),   S_t = exp(d_t A) S_{t-1} + d_t x_t B_t^T,   y_t = S_t C_t + D x_t,
times silu(z_t) where z is given.   Source: Dao and Gu 2024.
"""

from __future__ import annotations

from typing import Any

import torch

from verify.foreign.mamba import open_mamba
from verify.foreign.references import expand_groups
from verify.foreign.spec import Case, Input, Output, Properties, Resume, Spec

open_mamba()
from mamba_ssm.ops.triton.ssd_combined import mamba_chunk_scan_combined  # noqa: E402  # needs the line above

STATE = {"return_final_states": True}
SMALL = {"B": 1, "T": 70, "H": 2, "P": 16, "G": 1, "S": 16}


def call(chunk_size: int = 32, D_wide: Any | None = None, **arguments: Any) -> Any:
    if D_wide is not None:
        arguments["D"] = D_wide
    found = mamba_chunk_scan_combined(chunk_size=chunk_size, **arguments)
    return found if isinstance(found, tuple) else (found, None)


def reference(
    x: Any,
    dt: Any,
    A: Any,
    B: Any,
    C: Any,
    D: Any | None = None,
    z: Any | None = None,
    dt_bias: Any | None = None,
    initial_states: Any | None = None,
    seq_idx: Any | None = None,
    D_wide: Any | None = None,
    *,
    chunk_size: int = 32,
    dt_softplus: bool = False,
    dt_limit: tuple[float, float] = (0.0, float("inf")),
    return_final_states: bool = False,
) -> Any:
    del chunk_size
    D = D if D_wide is None else D_wide
    batch, length, heads, width = x.shape
    B, C = (expand_groups(w, heads) for w in (B, C))
    step = dt if dt_bias is None else dt + dt_bias
    step = torch.nn.functional.softplus(step) if dt_softplus else step
    step = torch.clamp(step, *dt_limit)
    decay = torch.exp(step * A)
    rows, states = [], []
    for b in range(batch):
        state = x.new_zeros(heads, width, B.shape[-1]) if initial_states is None else initial_states[b]
        outputs = []
        for t in range(length):
            if seq_idx is not None and t and seq_idx[b, t] != seq_idx[b, t - 1]:
                state = torch.zeros_like(state)
            added = (step[b, t, :, None] * x[b, t])[:, :, None] * B[b, t][:, None, :]
            state = decay[b, t, :, None, None] * state + added
            outputs.append(torch.einsum("hps,hs->hp", state, C[b, t]))
        rows.append(torch.stack(outputs))
        states.append(state)
    y = torch.stack(rows)
    if D is not None:
        y = y + x * (D if D.dim() == 2 else D[:, None])
    if z is not None:
        y = y * torch.nn.functional.silu(z)
    return y, torch.stack(states) if return_final_states else None


def case(name: str, sizes: dict[str, int], *given: str, **rest: Any) -> Case:
    return Case(name=name, sizes={**SMALL, **sizes}, given=given, **rest)


SPEC = Spec(
    name="mamba-ssm mamba_chunk_scan_combined",
    requires=("mamba-ssm==2.3.2.post1", "einops"),
    source="https://github.com/state-spaces/mamba, mamba_ssm/ops/triton/ssd_combined.py",
    call=call,
    reference=reference,
    inputs=(
        Input(name="x", dims="B T H P"),
        Input(name="dt", dims="B T H", domain="positive", scale=0.25),
        Input(name="A", dims="H", domain="positive", scale=-1.0, dtype="float32"),
        Input(name="B", dims="B T G S"),
        Input(name="C", dims="B T G S"),
        Input(name="D", dims="H", dtype="float32", optional=True),
        Input(name="D_wide", dims="H P", dtype="float32", optional=True),
        Input(name="z", dims="B T H P", optional=True),
        Input(name="dt_bias", dims="H", dtype="float32", shift=-1.0, optional=True),
        Input(name="initial_states", dims="B H P S", dtype="float32", optional=True),
        Input(name="seq_idx", dims="B T", domain="segments", dtype="int32", optional=True),
    ),
    outputs=(
        Output(name="y", dims="B T H P"),
        Output(name="final_states", dims="B H P S", dtype="float32", state=True),
    ),
    cases=(
        case(
            "ragged", {"B": 2, "T": 67, "P": 20, "S": 24}, "D", "initial_states", options=STATE, depth="quick"
        ),
        case("plain", {}),
        case("one token", {"T": 1}, "initial_states", options=STATE),
        case("shorter than a chunk", {"T": 13}, "D"),
        case("whole chunks", {"T": 64}, "initial_states", options=STATE),
        case("softplus and bias", {}, "dt_bias", "D", options={"dt_softplus": True}),
        case("gate", {}, "z", "D"),
        case("a skip for each feature", {"P": 20}, "z", "D_wide"),
        case(
            "everything",
            {"B": 2, "H": 4, "G": 2, "T": 45, "P": 24},
            *("D", "z", "dt_bias", "initial_states"),
            options={**STATE, "dt_softplus": True, "dt_limit": (0.05, 0.7)},
        ),
        case("bias without softplus", {}, "dt_bias", options={"dt_limit": (0.01, 1.0)}),
        case("wide state", {"S": 136}, "initial_states", options=STATE),
        case("wide head", {"P": 72}, "D"),
        case("packed", {}, "seq_idx", "D", lengths=(1, 15, 32, 22)),
        case("packed, with states", {}, "seq_idx", "initial_states", lengths=(20, 7, 40), options=STATE),
        case("strided inputs", {"B": 2}, "z", "initial_states", layout="transposed", options=STATE),
        case("NaN between rows", {}, "z", "D", layout="gapped"),
        case("NaN around the storage", {}, "D", "initial_states", layout="tail", options=STATE),
        case("unaligned storage", {}, "D", layout="unaligned"),
        case("strided cotangents", {"B": 2}, "initial_states", cotangent="transposed", options=STATE),
        case("expanded cotangents", {}, "D", cotangent="expanded"),
        case("offsets beyond 2^31", {"T": 40}, "D", far="x", dtypes=("bfloat16",)),
        case("chunks of 64", {"T": 130}, "D", "initial_states", options={**STATE, "chunk_size": 64}),
    ),
    properties=Properties(
        case=case("properties", {"B": 2, "T": 75}, "D"),
        causal=True,
        batch=True,
        resume=Resume(input="initial_states", output="final_states", options=STATE, cuts=(17, 64)),
        chunks=("chunk_size", (16, 64)),
    ),
    compile_case=Case(
        name="usual",
        sizes={"B": 2, "T": 2048, "H": 16, "P": 64, "G": 1, "S": 128},
        given=("D", "z", "dt_bias", "initial_states"),
        options={**STATE, "dt_softplus": True, "chunk_size": 256},
        dtypes=("bfloat16",),
    ),
)
