"""Liger `LigerCrossEntropyFunction`: cross entropy of logits, whose gradient is computed in the forward pass.

loss_i = w_y (lse(x_i) - x_iy), smoothed by e: (1 - e) loss_i + e / V sum_c w_c (lse - x_ic); plus s lse^2; x
may be capped, c tanh(x / c). Rows whose target is -100 are left out.
Source: PyTorch's cross_entropy, PaLM's z-loss.
"""

from __future__ import annotations

from typing import Any

import torch
from liger_kernel.ops.cross_entropy import LigerCrossEntropyFunction

from verify.foreign.spec import Case, Deviation, Input, Output, Spec

IGNORED = -100


def call(
    x: Any,
    target: Any,
    weight: Any | None = None,
    ignored: Any | None = None,
    *,
    lse_square_scale: float = 0.0,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    softcap: float | None = None,
    return_z_loss: bool = False,
) -> Any:
    target = target if ignored is None else target.masked_fill(ignored, IGNORED)
    loss, z_loss, *_ = LigerCrossEntropyFunction.apply(
        x,
        target,
        weight,
        IGNORED,
        lse_square_scale,
        label_smoothing,
        reduction,
        softcap,
        return_z_loss,
    )
    return loss, z_loss


def reference(
    x: Any,
    target: Any,
    weight: Any | None = None,
    ignored: Any | None = None,
    *,
    lse_square_scale: float = 0.0,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    softcap: float | None = None,
    return_z_loss: bool = False,
) -> Any:
    x = x if softcap is None else softcap * torch.tanh(x / softcap)
    seen = torch.ones_like(target, dtype=torch.bool) if ignored is None else ~ignored
    w = x.new_ones(x.shape[1]) if weight is None else weight
    lse = torch.logsumexp(x, dim=1)
    picked = torch.gather(x, 1, target[:, None])[:, 0]
    loss = (1.0 - label_smoothing) * w[target] * (lse - picked)
    loss = loss + label_smoothing / x.shape[1] * (w * (lse[:, None] - x)).sum(1)
    z_loss = lse_square_scale * lse * lse
    loss, z_loss = (torch.where(seen, values, torch.zeros_like(values)) for values in (loss, z_loss))
    if reduction != "none":
        count = seen.sum() if reduction == "mean" else 1.0
        total = (w[target] * seen).sum() if reduction == "mean" else 1.0
        loss, z_loss = loss.sum() / total, z_loss.sum() / count
    return loss + z_loss, z_loss if return_z_loss else None


def case(name: str, M: int, V: int, *given: str, **rest: Any) -> Case:
    fields = {key: rest.pop(key) for key in ("depth", "layout", "scale") if key in rest}
    return Case(name=name, sizes={"M": M, "V": V}, given=given, options=rest, **fields)


SPEC = Spec(
    name="Liger cross_entropy",
    requires=("liger-kernel==0.8.5",),
    source="https://github.com/linkedin/Liger-Kernel, src/liger_kernel/ops/cross_entropy.py",
    call=call,
    reference=reference,
    inputs=(
        Input(name="x", dims="M V"),
        Input(name="target", dims="M", domain="index", dtype="int64", bound="V"),
        Input(
            name="weight", dims="V", domain="positive", dtype="float32", optional=True, differentiable=False
        ),
        Input(name="ignored", dims="M", domain="boolean", dtype="bool", optional=True),
    ),
    outputs=(
        Output(name="loss", dims=""),  # (M,) with reduction="none"
        Output(name="z_loss", dims="", differentiable=False),
    ),
    cases=(
        case("mean", 9, 50, depth="quick"),
        case("one row", 1, 7),
        case("power of two", 5, 64),
        case("sum", 9, 50, reduction="sum"),
        case("every row", 9, 50, reduction="none"),
        case("ignored rows", 9, 50, "ignored"),
        case("ignored rows, every row", 9, 50, "ignored", reduction="none"),
        case("weights", 9, 50, "weight", "ignored"),
        case("smoothing", 9, 50, "ignored", label_smoothing=0.1),
        case("weights, smoothing", 9, 50, "weight", "ignored", label_smoothing=0.1),
        case("z loss", 9, 50, "ignored", lse_square_scale=1e-2, return_z_loss=True),
        case("softcap", 9, 50, softcap=3.0),
        case(
            "everything", 9, 50, "weight", "ignored", softcap=3.0, label_smoothing=0.1, lse_square_scale=1e-2
        ),
        case("large logits", 9, 50, scale=20.0),
        case("larger than a block", 2, 33000),
        case("strided inputs", 9, 50, "ignored", layout="transposed"),
        case("NaN between rows", 9, 50, "ignored", layout="gapped"),
        case("NaN around the storage", 9, 50, "weight", layout="tail"),
    ),
    compile_case=Case(name="usual", sizes={"M": 1024, "V": 32000}, dtypes=("bfloat16",)),
    deviations=(
        Deviation(
            rule="CMP-SHARED",
            kind="design",
            case="gfx942",
            message="2,048 threads",
            why="the launch was recorded as for an NVIDIA device, with 32 warps; on AMD the library takes 16",
            where="cross_entropy.py, cross_entropy_forward: `if is_hip(): ce_num_warps = 16`",
        ),
        Deviation(
            rule="MEM-INPUT-CHANGED",
            kind="design",
            message="x holds",
            why="the forward pass stores the gradient over the logits, to save memory",
            where="cross_entropy.py, liger_cross_entropy_kernel: `tl.store(X_ptr + X_offsets, X_block, ...)`",
        ),
    ),
)
