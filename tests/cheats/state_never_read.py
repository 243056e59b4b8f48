# expect: SUB-INPUT-IDLE: q fills a state of its own, which no output ever reads
"""Gated fading sum with a query memory: S_t = S_{t-1} / 2 + x_t, Z_t = Z_{t-1} / 2 + q_t, o_t = g_t * S_t."""

import torch
import triton
import triton.language as tl

SPEC = {
    "contract": 1,
    "template": "free",
    "causal": True,
    "inputs": {"q": "B T H D", "x": "B T H D", "g": "B T H D"},
    "params": {},
    "dims": {},
    "constants": {},
    "output": "B T H D",
    "state": {"S": "B H D : normal, float32", "Z": "B H D : normal, float32"},
}
TUNING = [{"num_warps": 1}]


def reference(q, x, g, *, state):
    S, Z = state
    outputs = []
    for t in range(x.shape[1]):
        S = 0.5 * S + x[:, t]
        Z = 0.5 * Z + q[:, t]
        outputs.append(g[:, t] * S)
    return torch.stack(outputs, dim=1), (S, Z)


@triton.jit
def _forward_kernel(
    q_ptr, x_ptr, g_ptr, s_ptr, z_ptr, o_ptr, final_s_ptr, final_z_ptr, kept_ptr, T, H,
    D: tl.constexpr, BLOCK: tl.constexpr,
):
    """Grid (B * H,): keeps S after every token for backward."""
    i_bh = tl.program_id(0)
    columns = tl.arange(0, BLOCK)
    inside = columns < D
    S = tl.load(s_ptr + i_bh * D + columns, mask=inside, other=0.0)
    Z = tl.load(z_ptr + i_bh * D + columns, mask=inside, other=0.0)
    for t in range(T):
        row = (((i_bh // H) * T + t) * H + i_bh % H) * D + columns
        q = tl.load(q_ptr + row, mask=inside, other=0.0).to(tl.float32)
        x = tl.load(x_ptr + row, mask=inside, other=0.0).to(tl.float32)
        g = tl.load(g_ptr + row, mask=inside, other=0.0).to(tl.float32)
        S = 0.5 * S + x
        Z = 0.5 * Z + q
        tl.store(kept_ptr + row, S, mask=inside)
        tl.store(o_ptr + row, (g * S).to(o_ptr.dtype.element_ty), mask=inside)
    tl.store(final_s_ptr + i_bh * D + columns, S, mask=inside)
    tl.store(final_z_ptr + i_bh * D + columns, Z, mask=inside)


@triton.jit
def _backward_kernel(
    g_ptr, kept_ptr, d_o_ptr, d_final_s_ptr, d_final_z_ptr, d_q_ptr, d_x_ptr, d_g_ptr, d_s_ptr, d_z_ptr, T, H,
    D: tl.constexpr, BLOCK: tl.constexpr,
):
    """Grid (B * H,): from the last token to the first."""
    i_bh = tl.program_id(0)
    columns = tl.arange(0, BLOCK)
    inside = columns < D
    d_S = tl.load(d_final_s_ptr + i_bh * D + columns, mask=inside, other=0.0)
    d_Z = tl.load(d_final_z_ptr + i_bh * D + columns, mask=inside, other=0.0)
    for step in range(T):
        row = (((i_bh // H) * T + T - 1 - step) * H + i_bh % H) * D + columns
        g = tl.load(g_ptr + row, mask=inside, other=0.0).to(tl.float32)
        d_o = tl.load(d_o_ptr + row, mask=inside, other=0.0).to(tl.float32)
        S = tl.load(kept_ptr + row, mask=inside, other=0.0)
        d_S += d_o * g
        tl.store(d_q_ptr + row, d_Z.to(d_q_ptr.dtype.element_ty), mask=inside)
        tl.store(d_x_ptr + row, d_S.to(d_x_ptr.dtype.element_ty), mask=inside)
        tl.store(d_g_ptr + row, (d_o * S).to(d_g_ptr.dtype.element_ty), mask=inside)
        d_S = 0.5 * d_S
        d_Z = 0.5 * d_Z
    tl.store(d_s_ptr + i_bh * D + columns, d_S, mask=inside)
    tl.store(d_z_ptr + i_bh * D + columns, d_Z, mask=inside)


def forward(q, x, g, *, state, tuning):
    B, T, H, D = x.shape
    q, x, g = q.contiguous(), x.contiguous(), g.contiguous()
    S, Z = state[0].contiguous(), state[1].contiguous()
    output, final_s, final_z = torch.empty_like(x), torch.empty_like(S), torch.empty_like(Z)
    kept = torch.empty((B, T, H, D), dtype=torch.float32, device=x.device)
    _forward_kernel[(B * H,)](
        q, x, g, S, Z, output, final_s, final_z, kept, T, H, D, triton.next_power_of_2(D),
        num_warps=tuning["num_warps"],
    )
    return output, (final_s, final_z), (g, kept)


def backward(residuals, d_output, d_state, *, needs, tuning):
    g, kept = residuals
    B, T, H, D = g.shape
    d_output = d_output.contiguous()
    d_final_s, d_final_z = d_state[0].contiguous(), d_state[1].contiguous()
    d_q, d_x, d_g = torch.empty_like(g), torch.empty_like(g), torch.empty_like(g)
    d_s, d_z = torch.empty_like(d_final_s), torch.empty_like(d_final_z)
    _backward_kernel[(B * H,)](
        g, kept, d_output, d_final_s, d_final_z, d_q, d_x, d_g, d_s, d_z, T, H, D, triton.next_power_of_2(D),
        num_warps=tuning["num_warps"],
    )
    return d_q, d_x, d_g, d_s, d_z
