"""Weighted fading average with two states: a numerator and its weight.

    n_t = l n_{t-1} + u_t,    s_t = l s_{t-1} + u_t x_t,    o_t = p * s_t / (n_t + eps),    l = exp(a).
O(T D) time, O(D) state per head; p is a learned gain per channel.
"""

import torch
import triton
import triton.language as tl

SPEC = {
    "contract": 1,
    "template": "free",
    "causal": True,
    "inputs": {"x": "B T H D", "u": "B T H : positive, float32"},
    "params": {"a": "H : log_decay", "p": "H D"},
    "dims": {},
    "constants": {"eps": 0.5},
    "output": "B T H D",
    "state": {"s": "B H D : normal, float32", "n": "B H : positive, float32"},
}
TUNING = [{"num_warps": 1}, {"num_warps": 4}]


def reference(x, u, a, p, *, state, eps):
    s, n = state
    decay = torch.exp(a)[None]
    outputs = []
    for t in range(x.shape[1]):
        n = decay * n + u[:, t]
        s = decay[..., None] * s + u[:, t, :, None] * x[:, t]
        outputs.append(p * s / (n + eps)[..., None])
    return torch.stack(outputs, dim=1), (s, n)


@triton.jit
def _forward_kernel(
    x_ptr, u_ptr, a_ptr, p_ptr, s0_ptr, n0_ptr, o_ptr, s_ptr, n_ptr, kept_s_ptr, kept_n_ptr, eps, T, H,
    D: tl.constexpr, BLOCK: tl.constexpr,
):
    """Grid (B, H): keeps the states before every token for backward."""
    i_h = tl.program_id(1)
    i_bh = tl.program_id(0) * H + i_h
    columns = tl.arange(0, BLOCK)
    inside = columns < D
    decay = tl.exp(tl.load(a_ptr + i_h))
    p = tl.load(p_ptr + i_h * D + columns, mask=inside, other=0.0)
    s = tl.load(s0_ptr + i_bh * D + columns, mask=inside, other=0.0)
    n = tl.load(n0_ptr + i_bh)
    for t in range(T):
        row = (tl.program_id(0) * T + t) * H + i_h
        tl.store(kept_s_ptr + row * D + columns, s, mask=inside)
        tl.store(kept_n_ptr + row, n)
        u = tl.load(u_ptr + row)
        x = tl.load(x_ptr + row * D + columns, mask=inside, other=0.0).to(tl.float32)
        n = decay * n + u
        s = decay * s + u * x
        tl.store(o_ptr + row * D + columns, (p * s / (n + eps)).to(o_ptr.dtype.element_ty), mask=inside)
    tl.store(s_ptr + i_bh * D + columns, s, mask=inside)
    tl.store(n_ptr + i_bh, n)


@triton.jit
def _backward_kernel(
    x_ptr, u_ptr, a_ptr, p_ptr, kept_s_ptr, kept_n_ptr, d_o_ptr, d_s_ptr, d_n_ptr,
    d_x_ptr, d_u_ptr, d_a_ptr, d_p_ptr, d_s0_ptr, d_n0_ptr, eps, T, H, D: tl.constexpr, BLOCK: tl.constexpr,
):
    """Grid (B, H): d_a (B, H) and d_p (B, H, D) are one sequence's parts."""
    i_h = tl.program_id(1)
    i_bh = tl.program_id(0) * H + i_h
    columns = tl.arange(0, BLOCK)
    inside = columns < D
    decay = tl.exp(tl.load(a_ptr + i_h))
    p = tl.load(p_ptr + i_h * D + columns, mask=inside, other=0.0)
    d_s = tl.load(d_s_ptr + i_bh * D + columns, mask=inside, other=0.0)
    d_n = tl.load(d_n_ptr + i_bh)
    d_decay = 0.0
    d_p = tl.zeros((BLOCK,), tl.float32)
    for t in range(T - 1, -1, -1):
        row = (tl.program_id(0) * T + t) * H + i_h
        s_before = tl.load(kept_s_ptr + row * D + columns, mask=inside, other=0.0)
        n_before = tl.load(kept_n_ptr + row)
        u = tl.load(u_ptr + row)
        x = tl.load(x_ptr + row * D + columns, mask=inside, other=0.0).to(tl.float32)
        d_o = tl.load(d_o_ptr + row * D + columns, mask=inside, other=0.0).to(tl.float32)
        s = decay * s_before + u * x
        inverse = 1.0 / (decay * n_before + u + eps)
        d_p += d_o * s * inverse
        d_s += d_o * p * inverse
        d_n -= tl.sum(d_o * p * s, 0) * inverse * inverse
        tl.store(d_x_ptr + row * D + columns, (u * d_s).to(d_x_ptr.dtype.element_ty), mask=inside)
        tl.store(d_u_ptr + row, tl.sum(d_s * x, 0) + d_n)
        d_decay += tl.sum(d_s * s_before, 0) + d_n * n_before
        d_s = decay * d_s
        d_n = decay * d_n
    tl.store(d_a_ptr + i_bh, decay * d_decay)
    tl.store(d_p_ptr + i_bh * D + columns, d_p, mask=inside)
    tl.store(d_s0_ptr + i_bh * D + columns, d_s, mask=inside)
    tl.store(d_n0_ptr + i_bh, d_n)


@triton.jit
def _sum_kernel(parts_ptr, total_ptr, B, size, BLOCK: tl.constexpr):
    """Grid (tiles of size,): parts (B, size) summed over B, in order."""
    columns = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK,), tl.float32)
    for i_b in range(B):
        total += tl.load(parts_ptr + i_b * size + columns, mask=columns < size, other=0.0)
    tl.store(total_ptr + columns, total, mask=columns < size)


def forward(x, u, a, p, *, state, tuning, eps):
    B, T, H, D = x.shape
    x, u, a, p = x.contiguous(), u.contiguous(), a.contiguous(), p.contiguous()
    s0, n0 = state[0].contiguous(), state[1].contiguous()
    output, s, n = torch.empty_like(x), torch.empty_like(s0), torch.empty_like(n0)
    kept_s = torch.empty((B, T, H, D), dtype=torch.float32, device=x.device)
    kept_n = torch.empty((B, T, H), dtype=torch.float32, device=x.device)
    _forward_kernel[(B, H)](
        x, u, a, p, s0, n0, output, s, n, kept_s, kept_n, eps, T, H, D=D, BLOCK=triton.next_power_of_2(D),
        num_warps=tuning["num_warps"],
    )
    return output, (s, n), (x, u, a, p, kept_s, kept_n)


def backward(residuals, d_output, d_state, *, needs, tuning, eps):
    x, u, a, p, kept_s, kept_n = residuals
    B, T, H, D = x.shape
    d_output, d_s, d_n = d_output.contiguous(), d_state[0].contiguous(), d_state[1].contiguous()
    d_x, d_u, d_s0, d_n0 = torch.empty_like(x), torch.empty_like(u), torch.empty_like(d_s), torch.empty_like(d_n)
    a_parts = torch.empty((B, H), dtype=torch.float32, device=x.device)
    p_parts = torch.empty((B, H, D), dtype=torch.float32, device=x.device)
    _backward_kernel[(B, H)](
        x, u, a, p, kept_s, kept_n, d_output, d_s, d_n, d_x, d_u, a_parts, p_parts, d_s0, d_n0, eps, T, H, D=D,
        BLOCK=triton.next_power_of_2(D), num_warps=tuning["num_warps"],
    )
    d_a, d_p = None, None
    if needs[2]:
        d_a = torch.empty_like(a)
        _sum_kernel[(triton.cdiv(H, 64),)](a_parts, d_a, B, H, BLOCK=64)
    if needs[3]:
        d_p = torch.empty_like(p)
        _sum_kernel[(triton.cdiv(H * D, 64),)](p_parts, d_p, B, H * D, BLOCK=64)
    return d_x, d_u, d_a, d_p, d_s0, d_n0
