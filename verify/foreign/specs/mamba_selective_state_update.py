"""mamba-ssm `selective_state_update`: one token of a selective scan; the state is updated in place.

d = softplus(dt + dt_bias),   S <- exp(d A) S + d x B^T,   y = S C + D x, times silu(z) where z is given.
"""

from __future__ import annotations

from typing import Any

import torch

from verify.foreign.mamba import open_mamba
from verify.foreign.references import expand_groups
from verify.foreign.spec import Case, Deviation, Input, Output, Properties, Spec

open_mamba()
from mamba_ssm.ops.triton.selective_state_update import selective_state_update  # noqa: E402

SMALL = {"B": 2, "H": 2, "P": 20, "G": 1, "S": 16}
USUAL = ("D", "dt_bias")


def call(state: Any, *, slots: tuple[int, ...] | None = None, **arguments: Any) -> Any:
    updated = state.clone()  # so that it can be run again; the library writes into it
    if slots is not None:
        arguments["state_batch_indices"] = torch.tensor(slots, dtype=torch.int32)
    return selective_state_update(updated, **arguments), updated


def reference(
    state: Any,
    x: Any,
    dt: Any,
    A: Any,
    B: Any,
    C: Any,
    D: Any | None = None,
    z: Any | None = None,
    dt_bias: Any | None = None,
    *,
    dt_softplus: bool = False,
    slots: tuple[int, ...] | None = None,
) -> Any:
    if slots is not None:  # sequence b has its state in slots[b], or is padding
        rows = [max(slot, 0) for slot in slots]
        y, moved = reference(state[rows], x, dt, A, B, C, D, z, dt_bias, dt_softplus=dt_softplus)
        seen = [b for b, slot in enumerate(slots) if slot >= 0]
        updated, mask = state.clone(), torch.zeros(len(slots), 1, 1, dtype=y.dtype)
        for b in seen:
            updated[slots[b]] = moved[b]
            mask[b] = 1.0
        return y * mask, updated
    B, C = (expand_groups(w, x.shape[1]) for w in (B, C))
    step = dt if dt_bias is None else dt + dt_bias
    step = torch.nn.functional.softplus(step) if dt_softplus else step
    added = (step * x)[..., None] * B[:, :, None, :]
    state = torch.exp(step[..., None] * A) * state + added
    y = torch.einsum("bhps,bhs->bhp", state, C)
    y = y if D is None else y + D * x
    return y if z is None else y * torch.nn.functional.silu(z), state


def case(name: str, sizes: dict[str, int], *given: str, **rest: Any) -> Case:
    return Case(name=name, sizes={**SMALL, **sizes}, given=given, backward=False, **rest)


SPEC = Spec(
    name="mamba-ssm selective_state_update",
    requires=("mamba-ssm==2.3.2.post1", "einops"),
    source="https://github.com/state-spaces/mamba, mamba_ssm/ops/triton/selective_state_update.py",
    call=call,
    reference=reference,
    inputs=tuple(
        Input(differentiable=False, **one)
        for one in (
            {"name": "state", "dims": "B H P S", "dtype": "float32"},
            {"name": "x", "dims": "B H P"},
            {"name": "dt", "dims": "B H P", "domain": "positive", "scale": 0.25},
            {"name": "A", "dims": "H P S", "domain": "positive", "scale": -1.0, "dtype": "float32"},
            {"name": "B", "dims": "B G S"},
            {"name": "C", "dims": "B G S"},
            {"name": "D", "dims": "H P", "dtype": "float32", "optional": True},
            {"name": "z", "dims": "B H P", "optional": True},
            {"name": "dt_bias", "dims": "H P", "dtype": "float32", "shift": -1.0, "optional": True},
        )
    ),
    outputs=(
        Output(name="y", dims="B H P"),
        Output(name="updated", dims="B H P S", dtype="float32", state=True),
    ),
    cases=(
        case("usual", {}, *USUAL, depth="quick"),
        case("softplus", {}, *USUAL, options={"dt_softplus": True}),
        case("gate, groups", {"H": 4, "G": 2}, *USUAL, "z"),
        case("one of each", {"B": 1, "H": 1, "P": 1, "S": 1}, *USUAL),
        case("no power of two", {"P": 33, "S": 20}, *USUAL, "z"),
        case("wide state", {"S": 136}, *USUAL),
        case("strided inputs", {}, *USUAL, "z", layout="transposed"),
        case("NaN between rows", {}, *USUAL, "z", layout="gapped"),
        case("NaN around the storage", {}, *USUAL, layout="tail"),
        case("states in other slots", {"B": 3}, *USUAL, options={"slots": (2, 0, 1)}),
        case("states in slots, padding", {"B": 3}, *USUAL, "z", options={"slots": (2, -1, 0)}),
        case("offsets beyond 2^31", {"B": 24}, *USUAL, far="x", dtypes=("bfloat16",)),
        case("without bias", {}, "D", dtypes=("float32",)),
        case("without skip", {}, "dt_bias", dtypes=("float32",)),
        case("without either", {}, dtypes=("float32",)),
    ),
    properties=Properties(case=case("properties", {}, *USUAL), batch=True),
    compile_case=Case(
        name="usual model",
        sizes={"B": 8, "H": 32, "P": 64, "G": 1, "S": 128},
        given=("D", "z", "dt_bias"),
        options={"dt_softplus": True},
        dtypes=("bfloat16",),
        backward=False,
    ),
    deviations=(
        *(
            Deviation(
                rule=rule,
                kind="defect",
                case="offsets beyond 2^31",
                why="the program's number times a stride is computed in int32 and wraps: with 2^31 elements "
                "between the first and the last row of a batch it reads in front of the tensor. The state's "
                "stride has the same fault: 4,096 slots of 64 heads, 64 x 128, are 2^31 elements",
                where="selective_state_update.py:66 to 77 (`pid_b` is never widened to int64)",
            )
            for rule in ("MEM-OUT-OF-BOUNDS", "NUM-NONFINITE")
        ),
        Deviation(
            rule="CON-WRAPPER-ERROR",
            kind="defect",
            case="without",
            message="must be an iterable, not int",
            why="D and dt_bias default to None, and the launch then unpacks the 0: `*(...) if dt_bias "
            "is not None else 0` is `*((...) if ... else 0)`. Zeros of the right shape are a way around it",
            where="selective_state_update.py:201, 205; smallest case: any call without D, or dt_bias",
        ),
    ),
)
