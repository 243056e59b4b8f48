# expect: PRP-CAUSAL: every head but the first reads the next token of the head before it
"""Gated convolution whose heads are shifted against one another, without a state.

    o_t,h = g_t,h (x_t,h + x_{t-1,h} / 2 + x_{t+1,h-1}),   where tokens and heads outside of the tensor are zero.
"""

import torch
import triton
import triton.language as tl

SPEC = {
    "contract": 1,
    "template": "free",
    "causal": True,
    "inputs": {"x": "B T H D", "g": "B T H D"},
    "params": {},
    "dims": {},
    "constants": {},
    "output": "B T H D",
    "state": {},
}
TUNING = [{"num_warps": 1}]


def reference(x, g, *, state):
    before = torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], dim=1)
    after = torch.cat([x[:, 1:], torch.zeros_like(x[:, :1])], dim=1)
    after = torch.cat([torch.zeros_like(x[:, :, :1]), after[:, :, :-1]], dim=2)
    return g * (x + 0.5 * before + after), ()


@triton.jit
def _load(ptr, row, there):
    return tl.load(ptr + row, mask=there, other=0.0).to(tl.float32)


@triton.jit
def _forward_kernel(x_ptr, g_ptr, o_ptr, T, H, D: tl.constexpr, BLOCK: tl.constexpr):
    """Grid (B * H,)."""
    h = tl.program_id(0) % H
    columns = tl.arange(0, BLOCK)
    inside = columns < D
    for t in range(T):
        row = (((tl.program_id(0) // H) * T + t) * H + h) * D + columns
        seen = _load(x_ptr, row, inside) + 0.5 * _load(x_ptr, row - H * D, inside & (t > 0))
        seen += _load(x_ptr, row + H * D - D, inside & (t + 1 < T) & (h > 0))
        tl.store(o_ptr + row, (_load(g_ptr, row, inside) * seen).to(o_ptr.dtype.element_ty), mask=inside)


@triton.jit
def _backward_kernel(x_ptr, g_ptr, d_o_ptr, d_x_ptr, d_g_ptr, T, H, D: tl.constexpr, BLOCK: tl.constexpr):
    """Grid (B * H,)."""
    h = tl.program_id(0) % H
    columns = tl.arange(0, BLOCK)
    inside = columns < D
    for t in range(T):
        row = (((tl.program_id(0) // H) * T + t) * H + h) * D + columns
        seen = _load(x_ptr, row, inside) + 0.5 * _load(x_ptr, row - H * D, inside & (t > 0))
        seen += _load(x_ptr, row + H * D - D, inside & (t + 1 < T) & (h > 0))
        d_o = _load(d_o_ptr, row, inside)
        there = inside & (t + 1 < T)
        d_x = _load(g_ptr, row, inside) * d_o
        d_x += 0.5 * _load(g_ptr, row + H * D, there) * _load(d_o_ptr, row + H * D, there)
        there = inside & (t > 0) & (h + 1 < H)
        d_x += _load(g_ptr, row - H * D + D, there) * _load(d_o_ptr, row - H * D + D, there)
        tl.store(d_x_ptr + row, d_x.to(d_x_ptr.dtype.element_ty), mask=inside)
        tl.store(d_g_ptr + row, (d_o * seen).to(d_g_ptr.dtype.element_ty), mask=inside)


def forward(x, g, *, state, tuning):
    B, T, H, D = x.shape
    x, g = x.contiguous(), g.contiguous()
    output = torch.empty_like(x)
    _forward_kernel[(B * H,)](x, g, output, T, H, D, triton.next_power_of_2(D), num_warps=tuning["num_warps"])
    return output, (), (x, g)


def backward(residuals, d_output, d_state, *, needs, tuning):
    x, g = residuals
    B, T, H, D = x.shape
    d_output = d_output.contiguous()
    d_x, d_g = torch.empty_like(x), torch.empty_like(g)
    _backward_kernel[(B * H,)](
        x, g, d_output, d_x, d_g, T, H, D, triton.next_power_of_2(D), num_warps=tuning["num_warps"]
    )
    return d_x, d_g
