"""Role `timing`: time a plan's kernels on a CUDA device, and PyTorch's own attention beside them.

No candidate Python runs here. What is timed, and by which clock, is `verify.device`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from verify.device.timed import DefinitionForm, KernelForm, Sets, TimedHandler
from verify.plan.format import Plan
from verify.roles.device import DEVICE, kernels_of


def _sdpa(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *, causal: bool) -> tuple[torch.Tensor]:
    """Softmax attention as PyTorch has it; q (B, T, H, K), k (B, T, G, K), v (B, T, G, V), any dtype."""
    grouped = q.shape[2] != k.shape[2]
    q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
    output = F.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=grouped)
    return (output.transpose(1, 2),)


def sdpa_form(header: Mapping[str, Any], sets: Sets) -> DefinitionForm:
    """PyTorch's attention on the inputs q, k and v, in their own dtype."""

    def function(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> Sequence[torch.Tensor]:
        return _sdpa(q, k, v, causal=header["causal"])

    entries = [("q", True), ("k", True), ("v", True)]
    return DefinitionForm(function, entries, ["d_output"], ["output"], sets)


def open(source: bytes) -> TimedHandler:
    kernels = kernels_of(source)

    def kernel_form(header: Mapping[str, Any], sets: Sets) -> KernelForm:
        declared = header["plan"]["buffers"]
        arguments = {
            buffer["argument"]: buffer["nbytes"] for buffer in declared if buffer["argument"] is not None
        }
        plan = Plan.from_json(header["plan"], kernels=header["kernels"], arguments=arguments)
        return KernelForm(plan, (header["state"], header["gradients"]), kernels, sets)

    return TimedHandler(DEVICE, {"kernels": kernel_form, "sdpa": sdpa_form})
