"""Average of all past tokens by the exponentials of their scores, with the largest score kept in the state.

    m_t = max(m_{t-1}, s_t),   f = exp(m_{t-1} - m_t),   w = exp(s_t - m_t),
    A_t = f A_{t-1} + w x_t,   n_t = f n_{t-1} + w,      o_t = A_t / n_t.
Source: the numerically stable form of attention without queries, Zhai et al. 2021 (arXiv:2105.14103), section 3, as a
recurrence; Milakov and Gimelshein 2018 (arXiv:1805.02867), algorithm 3. O(T D) time, O(D) state per head.
"""

import torch
import triton
import triton.language as tl

SPEC = {
    "contract": 1,
    "template": "free",
    "causal": True,
    "inputs": {"x": "B T H D", "s": "B T H : normal, float32"},
    "params": {},
    "dims": {},
    "constants": {},
    "output": "B T H D",
    "state": {"A": "B H D : normal, float32", "n": "B H : positive, float32", "m": "B H : normal, float32"},
}
TUNING = [{"num_warps": 1}]


def reference(x, s, *, state):
    A, n, m = state
    outputs = []
    for t in range(x.shape[1]):
        top = torch.maximum(m, s[:, t])
        f = torch.exp(m - top)
        w = torch.exp(s[:, t] - top)
        A = f[..., None] * A + w[..., None] * x[:, t]
        n = f * n + w
        m = top
        outputs.append(A / n[..., None])
    return torch.stack(outputs, dim=1), (A, n, m)


@triton.jit
def _forward_kernel(
    x_ptr, s_ptr, A_ptr, n_ptr, m_ptr, o_ptr, final_A_ptr, final_n_ptr, final_m_ptr,
    kept_A_ptr, kept_n_ptr, kept_m_ptr, T, H, D: tl.constexpr, BLOCK: tl.constexpr,
):
    """Grid (B * H,): keeps the state before every token for backward."""
    i_bh = tl.program_id(0)
    columns = tl.arange(0, BLOCK)
    inside = columns < D
    A = tl.load(A_ptr + i_bh * D + columns, mask=inside, other=0.0)
    n = tl.load(n_ptr + i_bh)
    m = tl.load(m_ptr + i_bh)
    for t in range(T):
        row = ((i_bh // H) * T + t) * H + i_bh % H
        tl.store(kept_A_ptr + row * D + columns, A, mask=inside)
        tl.store(kept_n_ptr + row, n)
        tl.store(kept_m_ptr + row, m)
        x = tl.load(x_ptr + row * D + columns, mask=inside, other=0.0).to(tl.float32)
        s = tl.load(s_ptr + row)
        top = tl.maximum(m, s)
        f = tl.exp(m - top)
        w = tl.exp(s - top)
        A = f * A + w * x
        n = f * n + w
        m = top
        tl.store(o_ptr + row * D + columns, (A / n).to(o_ptr.dtype.element_ty), mask=inside)
    tl.store(final_A_ptr + i_bh * D + columns, A, mask=inside)
    tl.store(final_n_ptr + i_bh, n)
    tl.store(final_m_ptr + i_bh, m)


@triton.jit
def _backward_kernel(
    x_ptr, s_ptr, kept_A_ptr, kept_n_ptr, kept_m_ptr, d_o_ptr, d_final_A_ptr, d_final_n_ptr, d_final_m_ptr,
    d_x_ptr, d_s_ptr, d_A_ptr, d_n_ptr, d_m_ptr, T, H, D: tl.constexpr, BLOCK: tl.constexpr,
):
    """Grid (B * H,): from the last token to the first; where both scores are equal, max hands half to each."""
    i_bh = tl.program_id(0)
    columns = tl.arange(0, BLOCK)
    inside = columns < D
    d_A = tl.load(d_final_A_ptr + i_bh * D + columns, mask=inside, other=0.0)
    d_n = tl.load(d_final_n_ptr + i_bh)
    d_m = tl.load(d_final_m_ptr + i_bh)
    for step in range(T):
        row = ((i_bh // H) * T + T - 1 - step) * H + i_bh % H
        A = tl.load(kept_A_ptr + row * D + columns, mask=inside, other=0.0)
        n = tl.load(kept_n_ptr + row)
        m = tl.load(kept_m_ptr + row)
        x = tl.load(x_ptr + row * D + columns, mask=inside, other=0.0).to(tl.float32)
        s = tl.load(s_ptr + row)
        d_o = tl.load(d_o_ptr + row * D + columns, mask=inside, other=0.0).to(tl.float32)
        top = tl.maximum(m, s)
        f = tl.exp(m - top)
        w = tl.exp(s - top)
        total = f * n + w
        d_A += d_o / total
        d_n -= tl.sum(d_o * (f * A + w * x), 0) / (total * total)
        from_old = f * (tl.sum(d_A * A, 0) + d_n * n)
        from_new = w * (tl.sum(d_A * x, 0) + d_n)
        d_top = d_m - from_old - from_new
        share = tl.where(s > m, 1.0, tl.where(s == m, 0.5, 0.0))
        tl.store(d_x_ptr + row * D + columns, (w * d_A).to(d_x_ptr.dtype.element_ty), mask=inside)
        tl.store(d_s_ptr + row, from_new + share * d_top)
        d_m = from_old + (1.0 - share) * d_top
        d_A = f * d_A
        d_n = f * d_n
    tl.store(d_A_ptr + i_bh * D + columns, d_A, mask=inside)
    tl.store(d_n_ptr + i_bh, d_n)
    tl.store(d_m_ptr + i_bh, d_m)


def forward(x, s, *, state, tuning):
    B, T, H, D = x.shape
    x, s = x.contiguous(), s.contiguous()
    A, n, m = state[0].contiguous(), state[1].contiguous(), state[2].contiguous()
    output = torch.empty_like(x)
    final_A, final_n, final_m = torch.empty_like(A), torch.empty_like(n), torch.empty_like(m)
    kept_A = torch.empty((B, T, H, D), dtype=torch.float32, device=x.device)
    kept_n, kept_m = torch.empty_like(s), torch.empty_like(s)
    _forward_kernel[(B * H,)](
        x, s, A, n, m, output, final_A, final_n, final_m, kept_A, kept_n, kept_m, T, H, D=D,
        BLOCK=triton.next_power_of_2(D), num_warps=tuning["num_warps"],
    )
    return output, (final_A, final_n, final_m), (x, s, kept_A, kept_n, kept_m)


def backward(residuals, d_output, d_state, *, needs, tuning):
    x, s, kept_A, kept_n, kept_m = residuals
    B, T, H, D = x.shape
    d_output = d_output.contiguous()
    d_final_A, d_final_n, d_final_m = d_state[0].contiguous(), d_state[1].contiguous(), d_state[2].contiguous()
    d_x, d_s = torch.empty_like(x), torch.empty_like(s)
    d_A, d_n, d_m = torch.empty_like(d_final_A), torch.empty_like(d_final_n), torch.empty_like(d_final_m)
    _backward_kernel[(B * H,)](
        x, s, kept_A, kept_n, kept_m, d_output, d_final_A, d_final_n, d_final_m, d_x, d_s, d_A, d_n, d_m,
        T, H, D=D, BLOCK=triton.next_power_of_2(D), num_warps=tuning["num_warps"],
    )
    return d_x, d_s, d_A, d_n, d_m
