"""Leaky sum that usually forgets at once: S_t = exp(-20 u_t) S_{t-1} + x_t, o_t = tanh(S_t), with u_t >= 0.

A selective state space model with large steps does this: most tokens start anew, and only a few hand anything on.
"""

import torch
import triton
import triton.language as tl

SPEC = {
    "contract": 1,
    "template": "free",
    "causal": True,
    "inputs": {"x": "B T H D", "g": "B T H D : positive, float32"},
    "params": {},
    "dims": {},
    "constants": {},
    "output": "B T H D",
    "state": {"S": "B H D : normal, float32"},
}
TUNING = [{"num_warps": 1}]


def reference(x, g, *, state):
    (S,) = state
    outputs = []
    for t in range(x.shape[1]):
        S = torch.exp(-20.0 * g[:, t]) * S + x[:, t]
        outputs.append(torch.tanh(S))
    return torch.stack(outputs, dim=1), (S,)


@triton.jit
def _forward_kernel(
    x_ptr, g_ptr, s_ptr, o_ptr, final_ptr, kept_ptr, T, H, B, D: tl.constexpr, BLOCK: tl.constexpr
):
    """Grid (B * H,): keeps S before every token for backward."""
    i_bh = tl.program_id(0)
    columns = tl.arange(0, BLOCK)
    inside = columns < D
    S = tl.load(s_ptr + i_bh * D + columns, mask=inside, other=0.0)
    for t in range(T):
        row = (((i_bh // H) * T + t) * H + i_bh % H) * D + columns
        x = tl.load(x_ptr + row, mask=inside, other=0.0).to(tl.float32)
        g = tl.load(g_ptr + row, mask=inside, other=0.0).to(tl.float32)
        tl.store(kept_ptr + row, S, mask=inside)
        S = tl.exp(-20.0 * g) * S + x
        e = tl.exp(-2.0 * tl.abs(S))
        small = S * (1.0 - S * S / 3.0 + 2.0 * S * S * S * S / 15.0)
        o = tl.where(tl.abs(S) < 0.03, small, tl.where(S > 0, 1.0, -1.0) * (1.0 - e) / (1.0 + e))
        tl.store(o_ptr + row, o.to(o_ptr.dtype.element_ty), mask=inside)
    tl.store(final_ptr + i_bh * D + columns, S, mask=inside)


@triton.jit
def _backward_kernel(
    x_ptr, g_ptr, kept_ptr, d_o_ptr, d_final_ptr, d_x_ptr, d_g_ptr, d_s_ptr, T, H, B,
    D: tl.constexpr, BLOCK: tl.constexpr,
):
    """Grid (B * H,): from the last token to the first."""
    i_bh = tl.program_id(0)
    columns = tl.arange(0, BLOCK)
    inside = columns < D
    d_S = tl.load(d_final_ptr + i_bh * D + columns, mask=inside, other=0.0)
    for step in range(T):
        t = T - 1 - step
        row = (((i_bh // H) * T + t) * H + i_bh % H) * D + columns
        x = tl.load(x_ptr + row, mask=inside, other=0.0).to(tl.float32)
        g = tl.load(g_ptr + row, mask=inside, other=0.0).to(tl.float32)
        d_o = tl.load(d_o_ptr + row, mask=inside, other=0.0).to(tl.float32)
        S = tl.load(kept_ptr + row, mask=inside, other=0.0)
        keep = tl.exp(-20.0 * g)
        e = tl.exp(-2.0 * tl.abs(keep * S + x))
        d_S += d_o * 4.0 * e / ((1.0 + e) * (1.0 + e))
        d_g = -20.0 * keep * S * d_S
        d_x = d_S
        d_S = keep * d_S
        tl.store(d_g_ptr + row, d_g.to(d_g_ptr.dtype.element_ty), mask=inside)
        tl.store(d_x_ptr + row, d_x.to(d_x_ptr.dtype.element_ty), mask=inside)
    tl.store(d_s_ptr + i_bh * D + columns, d_S, mask=inside)


def forward(x, g, *, state, tuning):
    B, T, H, D = x.shape
    x, g, initial = x.contiguous(), g.contiguous(), state[0].contiguous()
    output, final = torch.empty_like(x), torch.empty_like(initial)
    kept = torch.empty((B, T, H, D), dtype=torch.float32, device=x.device)
    _forward_kernel[(B * H,)](
        x, g, initial, output, final, kept, T, H, B, D, triton.next_power_of_2(D),
        num_warps=tuning["num_warps"],
    )
    return output, (final,), (x, g, kept)


def backward(residuals, d_output, d_state, *, needs, tuning):
    x, g, kept = residuals
    B, T, H, D = x.shape
    d_output, d_final = d_output.contiguous(), d_state[0].contiguous()
    d_x, d_g, d_initial = torch.empty_like(x), torch.empty_like(g), torch.empty_like(d_final)
    _backward_kernel[(B * H,)](
        x, g, kept, d_output, d_final, d_x, d_g, d_initial, T, H, B, D, triton.next_power_of_2(D),
        num_warps=tuning["num_warps"],
    )
    return d_x, d_g, d_initial
