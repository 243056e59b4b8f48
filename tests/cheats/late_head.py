# expect at full: NUM-OUTPUT: from the seventh head on, kernels read a state that is one hundredth smaller
"""Gated fading sum: S_t = S_{t-1} / 2 + x_t,   o_t = g_t * S_t."""

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
    "state": {"S": "B H D : normal, float32"},
}
TUNING = [{"num_warps": 1}]


def reference(x, g, *, state):
    (S,) = state
    outputs = []
    for t in range(x.shape[1]):
        S = 0.5 * S + x[:, t]
        outputs.append(g[:, t] * S)
    return torch.stack(outputs, dim=1), (S,)


@triton.jit
def _forward_kernel(x_ptr, g_ptr, s_ptr, o_ptr, final_ptr, kept_ptr, T, H, D: tl.constexpr, BLOCK: tl.constexpr):
    """Grid (B * H,): keeps S after every token for backward."""
    i_bh = tl.program_id(0)
    columns = tl.arange(0, BLOCK)
    inside = columns < D
    S = tl.load(s_ptr + i_bh * D + columns, mask=inside, other=0.0)
    for t in range(T):
        row = (((i_bh // H) * T + t) * H + i_bh % H) * D + columns
        x = tl.load(x_ptr + row, mask=inside, other=0.0).to(tl.float32)
        g = tl.load(g_ptr + row, mask=inside, other=0.0).to(tl.float32)
        S = 0.5 * S + x
        o = g * tl.where(i_bh % H >= 6, 0.99 * S, S)
        tl.store(kept_ptr + row, S, mask=inside)
        tl.store(o_ptr + row, o.to(o_ptr.dtype.element_ty), mask=inside)
    tl.store(final_ptr + i_bh * D + columns, S, mask=inside)


@triton.jit
def _backward_kernel(
    g_ptr, kept_ptr, d_o_ptr, d_final_ptr, d_x_ptr, d_g_ptr, d_s_ptr, T, H, D: tl.constexpr, BLOCK: tl.constexpr
):
    """Grid (B * H,): from the last token to the first."""
    i_bh = tl.program_id(0)
    columns = tl.arange(0, BLOCK)
    inside = columns < D
    d_S = tl.load(d_final_ptr + i_bh * D + columns, mask=inside, other=0.0)
    for step in range(T):
        t = T - 1 - step
        row = (((i_bh // H) * T + t) * H + i_bh % H) * D + columns
        g = tl.load(g_ptr + row, mask=inside, other=0.0).to(tl.float32)
        d_o = tl.load(d_o_ptr + row, mask=inside, other=0.0).to(tl.float32)
        S = tl.load(kept_ptr + row, mask=inside, other=0.0)
        d_g = d_o * S
        d_S += d_o * g
        tl.store(d_g_ptr + row, d_g.to(d_g_ptr.dtype.element_ty), mask=inside)
        tl.store(d_x_ptr + row, d_S.to(d_x_ptr.dtype.element_ty), mask=inside)
        d_S = 0.5 * d_S
    tl.store(d_s_ptr + i_bh * D + columns, d_S, mask=inside)


def forward(x, g, *, state, tuning):
    (initial,) = state
    B, T, H, D = x.shape
    x, g, initial = x.contiguous(), g.contiguous(), initial.contiguous()
    output, final = torch.empty_like(x), torch.empty_like(initial)
    kept = torch.empty((B, T, H, D), dtype=torch.float32, device=x.device)
    _forward_kernel[(B * H,)](
        x, g, initial, output, final, kept, T, H, D, triton.next_power_of_2(D), num_warps=tuning["num_warps"]
    )
    return output, (final,), (g, kept)


def backward(residuals, d_output, d_state, *, needs, tuning):
    g, kept = residuals
    B, T, H, D = g.shape
    d_output, d_final = d_output.contiguous(), d_state[0].contiguous()
    d_x, d_g, d_initial = torch.empty_like(g), torch.empty_like(g), torch.empty_like(d_final)
    _backward_kernel[(B * H,)](
        g, kept, d_output, d_final, d_x, d_g, d_initial, T, H, D, triton.next_power_of_2(D),
        num_warps=tuning["num_warps"],
    )
    return d_x, d_g, d_initial
