"""mamba-ssm's Triton kernels, loaded when they are first called; its CUDA extension is not needed."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

from harness.errors import HarnessError
from verify.triton_cpu.packages import kernel_module

KERNEL_CHUNK = 256
"""mamba-ssm's own default, which its kernels are tuned for."""


def chunk_scan(
    x: torch.Tensor,
    dt: torch.Tensor,
    A: torch.Tensor,
    B: torch.Tensor,
    C: torch.Tensor,
    *,
    D: torch.Tensor,
    dt_bias: torch.Tensor,
) -> torch.Tensor:
    """x (B, T, H, P), dt (B, T, H) before its bias and softplus, A (H,) < 0, B and C (B, T, G, N), D and
    dt_bias (H,) -> y (B, T, H, P) with the skip D x. Differentiable. Raises HarnessError without mamba-ssm.
    """
    kernel = _kernel()
    return kernel(x, dt, A, B, C, KERNEL_CHUNK, D=D.float(), dt_bias=dt_bias.float(), dt_softplus=True)


@cache
def _kernel() -> Any:
    try:
        return kernel_module("mamba_ssm.ops.triton.ssd_combined").mamba_chunk_scan_combined
    except ModuleNotFoundError as missing:
        raise HarnessError(
            f"Mb on a GPU: expected mamba-ssm and what it imports, found no {missing.name}. Install it "
            "(`MAMBA_FORCE_BUILD=TRUE MAMBA_SKIP_CUDA_BUILD=TRUE pip install --no-build-isolation --no-deps "
            "mamba-ssm einops`), or build the primitive with backend='torch'."
        ) from None
