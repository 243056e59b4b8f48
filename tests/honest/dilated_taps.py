"""Gated dilated convolution: o_t = g_t * (p_1 x_{t-16} + p_2 x_{t-32} + p_3 x_{t-48}), with learned p per head.

As in WaveNet (van den Oord et al. 2016, arXiv:1609.03499), section 2.1; the token itself is left to the layer's skip
connection, so the first 16 outputs are exactly zero. O(T D) time, no state.
"""

import torch
import triton
import triton.language as tl

SPEC = {
    "contract": 1,
    "template": "free",
    "causal": True,
    "inputs": {"x": "B T H D", "g": "B T H D"},
    "params": {"p": "H J"},
    "dims": {"J": 3},
    "constants": {},
    "output": "B T H D",
    "state": {},
}
TUNING = [{"num_warps": 1}]


def reference(x, g, p, *, state):
    B, T, H, D = x.shape
    total = torch.zeros_like(x)
    for j in range(3):
        lag = 16 * (j + 1)
        shifted = torch.cat([x.new_zeros(B, lag, H, D), x], dim=1)[:, :T]
        total = total + p[None, None, :, j, None] * shifted
    return g * total, ()


@triton.jit
def _forward_kernel(x_ptr, g_ptr, p_ptr, o_ptr, T, H, D: tl.constexpr, BLOCK: tl.constexpr):
    """Grid (B * H,)."""
    i_bh = tl.program_id(0)
    columns = tl.arange(0, BLOCK)
    inside = columns < D
    for t in range(T):
        row = (((i_bh // H) * T + t) * H + i_bh % H) * D + columns
        g = tl.load(g_ptr + row, mask=inside, other=0.0).to(tl.float32)
        total = tl.zeros((BLOCK,), tl.float32)
        for j in range(3):
            lag = 16 * (j + 1)
            x = tl.load(x_ptr + row - lag * H * D, mask=inside & (t >= lag), other=0.0).to(tl.float32)
            total += tl.load(p_ptr + (i_bh % H) * 3 + j) * x
        tl.store(o_ptr + row, (g * total).to(o_ptr.dtype.element_ty), mask=inside)


@triton.jit
def _input_grad_kernel(
    x_ptr, g_ptr, p_ptr, d_o_ptr, d_x_ptr, d_g_ptr, T, H, D: tl.constexpr, BLOCK: tl.constexpr
):
    """Grid (B * H,)."""
    i_bh = tl.program_id(0)
    columns = tl.arange(0, BLOCK)
    inside = columns < D
    for t in range(T):
        row = (((i_bh // H) * T + t) * H + i_bh % H) * D + columns
        d_o = tl.load(d_o_ptr + row, mask=inside, other=0.0).to(tl.float32)
        total = tl.zeros((BLOCK,), tl.float32)
        d_x = tl.zeros((BLOCK,), tl.float32)
        for j in range(3):
            lag = 16 * (j + 1)
            p = tl.load(p_ptr + (i_bh % H) * 3 + j)
            later = row + lag * H * D
            there = inside & (t + lag < T)
            total += p * tl.load(x_ptr + row - lag * H * D, mask=inside & (t >= lag), other=0.0).to(tl.float32)
            reader = tl.load(d_o_ptr + later, mask=there, other=0.0).to(tl.float32)
            d_x += p * reader * tl.load(g_ptr + later, mask=there, other=0.0).to(tl.float32)
        tl.store(d_g_ptr + row, (d_o * total).to(d_g_ptr.dtype.element_ty), mask=inside)
        tl.store(d_x_ptr + row, d_x.to(d_x_ptr.dtype.element_ty), mask=inside)


@triton.jit
def _tap_grad_kernel(x_ptr, g_ptr, d_o_ptr, parts_ptr, T, H, D: tl.constexpr, BLOCK: tl.constexpr):
    """Grid (B * H, 3): one sequence's part of the gradient of one tap."""
    i_bh = tl.program_id(0)
    j = tl.program_id(1)
    lag = 16 * (j + 1)
    columns = tl.arange(0, BLOCK)
    inside = columns < D
    total = tl.zeros((BLOCK,), tl.float32)
    for t in range(lag, T):
        row = (((i_bh // H) * T + t) * H + i_bh % H) * D + columns
        x = tl.load(x_ptr + row - lag * H * D, mask=inside, other=0.0).to(tl.float32)
        g = tl.load(g_ptr + row, mask=inside, other=0.0).to(tl.float32)
        total += x * g * tl.load(d_o_ptr + row, mask=inside, other=0.0).to(tl.float32)
    tl.store(parts_ptr + i_bh * 3 + j, tl.sum(total, 0))


@triton.jit
def _sum_kernel(parts_ptr, d_p_ptr, B, H):
    """Grid (H, 3): parts (B, H, 3) summed over B, in order."""
    at = tl.program_id(0) * 3 + tl.program_id(1)
    total = 0.0
    for i_b in range(B):
        total += tl.load(parts_ptr + i_b * H * 3 + at)
    tl.store(d_p_ptr + at, total)


def forward(x, g, p, *, state, tuning):
    B, T, H, D = x.shape
    x, g, p = x.contiguous(), g.contiguous(), p.contiguous()
    output = torch.empty_like(x)
    _forward_kernel[(B * H,)](x, g, p, output, T, H, D, triton.next_power_of_2(D), num_warps=tuning["num_warps"])
    return output, (), (x, g, p)


def backward(residuals, d_output, d_state, *, needs, tuning):
    x, g, p = residuals
    B, T, H, D = x.shape
    d_output = d_output.contiguous()
    d_x, d_g, d_p = torch.empty_like(x), torch.empty_like(g), torch.empty_like(p)
    parts = torch.empty((B, H, 3), dtype=torch.float32, device=x.device)
    block = triton.next_power_of_2(D)
    _input_grad_kernel[(B * H,)](x, g, p, d_output, d_x, d_g, T, H, D, block, num_warps=tuning["num_warps"])
    _tap_grad_kernel[(B * H, 3)](x, g, d_output, parts, T, H, D, block)
    _sum_kernel[(H, 3)](parts, d_p, B, H)
    return d_x, d_g, d_p
