"""Bidirectional mean mixer: every token reads the mean of the whole sequence through its own gate.

    m = mean_t x_t,    o_t = g_t * (m + alpha x_t).   O(T D) time, no state.
"""

import torch
import triton
import triton.language as tl

SPEC = {
    "contract": 1,
    "template": "free",
    "causal": False,
    "inputs": {"x": "B T H D", "g": "B T H D"},
    "params": {},
    "dims": {},
    "constants": {"alpha": 0.25},
    "output": "B T H D",
    "state": {},
}
TUNING = [{"BLOCK_T": 32, "num_warps": 4}, {"BLOCK_T": 128, "num_warps": 8}]


def reference(x, g, *, state, alpha):
    return g * (x.mean(dim=1, keepdim=True) + alpha * x), ()


@triton.jit
def _mean_kernel(x_ptr, y_ptr, mean_ptr, T, H, D: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK_D: tl.constexpr,
                 PRODUCT: tl.constexpr):
    """Grid (B, H): the mean over T of x, or of x * y."""
    i_b = tl.program_id(0)
    i_h = tl.program_id(1)
    columns = tl.arange(0, BLOCK_D)
    total = tl.zeros((BLOCK_D,), tl.float32)
    for start in range(0, T, BLOCK_T):
        t = start + tl.arange(0, BLOCK_T)
        offsets = ((i_b * T + t[:, None]) * H + i_h) * D + columns[None, :]
        inside = (t[:, None] < T) & (columns[None, :] < D)
        x = tl.load(x_ptr + offsets, mask=inside, other=0.0).to(tl.float32)
        if PRODUCT:
            x = x * tl.load(y_ptr + offsets, mask=inside, other=0.0).to(tl.float32)
        total += tl.sum(x, 0)
    tl.store(mean_ptr + (i_b * H + i_h) * D + columns, total / T, mask=columns < D)


@triton.jit
def _mix_kernel(x_ptr, g_ptr, mean_ptr, o_ptr, alpha, T, H,
                D: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK_D: tl.constexpr):
    """Grid (tiles of T, B * H)."""
    i_bh = tl.program_id(1)
    t = tl.program_id(0) * BLOCK_T + tl.arange(0, BLOCK_T)
    columns = tl.arange(0, BLOCK_D)
    offsets = (((i_bh // H) * T + t[:, None]) * H + i_bh % H) * D + columns[None, :]
    inside = (t[:, None] < T) & (columns[None, :] < D)
    mean = tl.load(mean_ptr + i_bh * D + columns, mask=columns < D, other=0.0)
    x = tl.load(x_ptr + offsets, mask=inside, other=0.0).to(tl.float32)
    g = tl.load(g_ptr + offsets, mask=inside, other=0.0).to(tl.float32)
    o = g * (mean[None, :] + alpha * x)
    tl.store(o_ptr + offsets, o.to(o_ptr.dtype.element_ty), mask=inside)


@triton.jit
def _grad_kernel(x_ptr, g_ptr, mean_ptr, d_o_ptr, d_mean_ptr, d_x_ptr, d_g_ptr, alpha, T, H,
                 D: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK_D: tl.constexpr):
    """Grid (tiles of T, B * H); d_mean is mean_t g_t d_o_t."""
    i_bh = tl.program_id(1)
    t = tl.program_id(0) * BLOCK_T + tl.arange(0, BLOCK_T)
    columns = tl.arange(0, BLOCK_D)
    offsets = (((i_bh // H) * T + t[:, None]) * H + i_bh % H) * D + columns[None, :]
    inside = (t[:, None] < T) & (columns[None, :] < D)
    mean = tl.load(mean_ptr + i_bh * D + columns, mask=columns < D, other=0.0)
    d_mean = tl.load(d_mean_ptr + i_bh * D + columns, mask=columns < D, other=0.0)
    x = tl.load(x_ptr + offsets, mask=inside, other=0.0).to(tl.float32)
    g = tl.load(g_ptr + offsets, mask=inside, other=0.0).to(tl.float32)
    d_o = tl.load(d_o_ptr + offsets, mask=inside, other=0.0).to(tl.float32)
    d_x = d_mean[None, :] + alpha * g * d_o
    d_g = (mean[None, :] + alpha * x) * d_o
    tl.store(d_x_ptr + offsets, d_x.to(d_x_ptr.dtype.element_ty), mask=inside)
    tl.store(d_g_ptr + offsets, d_g.to(d_g_ptr.dtype.element_ty), mask=inside)


def forward(x, g, *, state, tuning, alpha):
    B, T, H, D = x.shape
    x, g = x.contiguous(), g.contiguous()
    block_d = triton.next_power_of_2(D)
    mean = torch.empty((B, H, D), dtype=torch.float32, device=x.device)
    output = torch.empty_like(x)
    _mean_kernel[(B, H)](x, x, mean, T, H, D=D, BLOCK_T=tuning["BLOCK_T"], BLOCK_D=block_d, PRODUCT=False,
                         num_warps=tuning["num_warps"])
    _mix_kernel[(triton.cdiv(T, tuning["BLOCK_T"]), B * H)](
        x, g, mean, output, alpha, T, H, D=D, BLOCK_T=tuning["BLOCK_T"], BLOCK_D=block_d,
        num_warps=tuning["num_warps"],
    )
    return output, (), (x, g, mean)


def backward(residuals, d_output, d_state, *, needs, tuning, alpha):
    x, g, mean = residuals
    B, T, H, D = x.shape
    d_output = d_output.contiguous()
    block_d = triton.next_power_of_2(D)
    d_mean = torch.empty_like(mean)
    d_x, d_g = torch.empty_like(x), torch.empty_like(g)
    _mean_kernel[(B, H)](g, d_output, d_mean, T, H, D=D, BLOCK_T=tuning["BLOCK_T"], BLOCK_D=block_d, PRODUCT=True,
                         num_warps=tuning["num_warps"])
    _grad_kernel[(triton.cdiv(T, tuning["BLOCK_T"]), B * H)](
        x, g, mean, d_output, d_mean, d_x, d_g, alpha, T, H, D=D, BLOCK_T=tuning["BLOCK_T"], BLOCK_D=block_d,
        num_warps=tuning["num_warps"],
    )
    return d_x, d_g
