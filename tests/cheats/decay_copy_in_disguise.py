# expect at full: SUB-KNOWN: linear_state/v1/token_decay with other names, a transposed memory, a plain factor for its log, and one per cent
"""Associative memory with forgetting and a level: M_t = f_t M_{t-1} + c_t p(w_t)^T,  o_t = 0.37 l_t M_t p(r_t),
l = 1 + tanh(b) / 100,  p(x) = elu(x) + 1.
"""

import torch
import triton
import triton.language as tl

SPEC = {
    "contract": 1,
    "template": "free",
    "causal": True,
    "inputs": {
        "c": "B T H V",
        "w": "B T H K",
        "f": "B T H : unit_interval, float32",
        "r": "B T H K",
        "b": "B T H : normal, float32",
    },
    "params": {},
    "dims": {},
    "constants": {},
    "output": "B T H V",
    "state": {"M": "B H V K : normal, float32"},
}
TUNING = [{"num_warps": 8}]


def _positive(x):
    return torch.where(x > 0, x + 1.0, torch.exp(torch.clamp(x, max=0.0)))


def reference(c, w, f, r, b, *, state):
    (M,) = state
    level = 0.37 * (1.0 + 0.01 * torch.tanh(b))
    outputs = []
    for t in range(c.shape[1]):
        M = f[:, t, :, None, None] * M + c[:, t, :, :, None] * _positive(w[:, t])[:, :, None, :]
        outputs.append(level[:, t, :, None] * torch.einsum("bhk,bhvk->bhv", _positive(r[:, t]), M))
    return torch.stack(outputs, dim=1), (M,)


@triton.jit
def _phi(x):
    return tl.where(x > 0, x + 1.0, tl.exp(tl.minimum(x, 0.0)))


@triton.jit
def _tanh(x):
    return 2.0 * tl.sigmoid(2.0 * x) - 1.0


@triton.jit
def _forward_kernel(
    c_ptr, w_ptr, f_ptr, r_ptr, b_ptr, initial_ptr, states_ptr, o_ptr, final_ptr, T, H,
    K: tl.constexpr, V: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_V: tl.constexpr,
):
    """Grid (B * H,): the recurrence of one head; keeps the memory before every token."""
    i_bh = tl.program_id(0)
    i_b = i_bh // H
    i_h = i_bh % H
    rows = tl.arange(0, BLOCK_V)
    columns = tl.arange(0, BLOCK_K)
    tile = rows[:, None] * K + columns[None, :]
    inside = (rows[:, None] < V) & (columns[None, :] < K)
    M = tl.load(initial_ptr + i_bh * K * V + tile, mask=inside, other=0.0)
    for t in range(T):
        tl.store(states_ptr + (i_bh * T + t) * K * V + tile, M, mask=inside)
        row = (i_b * T + t) * H + i_h
        r = _phi(tl.load(r_ptr + row * K + columns, mask=columns < K, other=0.0).to(tl.float32))
        w = _phi(tl.load(w_ptr + row * K + columns, mask=columns < K, other=0.0).to(tl.float32))
        c = tl.load(c_ptr + row * V + rows, mask=rows < V, other=0.0).to(tl.float32)
        f = tl.load(f_ptr + row)
        level = 0.37 * (1.0 + 0.01 * _tanh(tl.load(b_ptr + row)))
        M = tl.where(inside, f * M + c[:, None] * w[None, :], 0.0)
        o = level * tl.sum(r[None, :] * M, 1)
        tl.store(o_ptr + row * V + rows, o.to(o_ptr.dtype.element_ty), mask=rows < V)
    tl.store(final_ptr + i_bh * K * V + tile, M, mask=inside)


@triton.jit
def _backward_kernel(
    c_ptr, w_ptr, f_ptr, r_ptr, b_ptr, states_ptr, d_o_ptr, d_final_ptr,
    d_c_ptr, d_w_ptr, d_f_ptr, d_r_ptr, d_b_ptr, d_initial_ptr,
    T, H, K: tl.constexpr, V: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_V: tl.constexpr,
):
    """Grid (B * H,): `_forward_kernel` in reverse."""
    i_bh = tl.program_id(0)
    i_b = i_bh // H
    i_h = i_bh % H
    rows = tl.arange(0, BLOCK_V)
    columns = tl.arange(0, BLOCK_K)
    tile = rows[:, None] * K + columns[None, :]
    inside = (rows[:, None] < V) & (columns[None, :] < K)
    d_M = tl.load(d_final_ptr + i_bh * K * V + tile, mask=inside, other=0.0)
    for step in range(T):
        t = T - 1 - step
        before = tl.load(states_ptr + (i_bh * T + t) * K * V + tile, mask=inside, other=0.0)
        row = (i_b * T + t) * H + i_h
        r_in = tl.load(r_ptr + row * K + columns, mask=columns < K, other=0.0).to(tl.float32)
        w_in = tl.load(w_ptr + row * K + columns, mask=columns < K, other=0.0).to(tl.float32)
        r = _phi(r_in)
        w = _phi(w_in)
        c = tl.load(c_ptr + row * V + rows, mask=rows < V, other=0.0).to(tl.float32)
        f = tl.load(f_ptr + row)
        tanh = _tanh(tl.load(b_ptr + row))
        d_o = tl.load(d_o_ptr + row * V + rows, mask=rows < V, other=0.0).to(tl.float32)
        M = tl.where(inside, f * before + c[:, None] * w[None, :], 0.0)
        d_b = 0.0037 * (1.0 - tanh * tanh) * tl.sum(d_o * tl.sum(r[None, :] * M, 1), 0)
        d_o = d_o * 0.37 * (1.0 + 0.01 * tanh)
        d_M = tl.where(inside, d_M + d_o[:, None] * r[None, :], 0.0)
        d_r = tl.sum(M * d_o[:, None], 0) * tl.where(r_in > 0, 1.0, r)
        d_w = tl.sum(d_M * c[:, None], 0) * tl.where(w_in > 0, 1.0, w)
        d_c = tl.sum(d_M * w[None, :], 1)
        tl.store(d_r_ptr + row * K + columns, d_r.to(d_r_ptr.dtype.element_ty), mask=columns < K)
        tl.store(d_w_ptr + row * K + columns, d_w.to(d_w_ptr.dtype.element_ty), mask=columns < K)
        tl.store(d_c_ptr + row * V + rows, d_c.to(d_c_ptr.dtype.element_ty), mask=rows < V)
        tl.store(d_f_ptr + row, tl.sum(tl.sum(d_M * before, 1), 0))
        tl.store(d_b_ptr + row, d_b)
        d_M = f * d_M
    tl.store(d_initial_ptr + i_bh * K * V + tile, d_M, mask=inside)


def forward(c, w, f, r, b, *, state, tuning):
    B, T, H, V = c.shape
    K = w.shape[-1]
    c, w, f, r, b = c.contiguous(), w.contiguous(), f.contiguous(), r.contiguous(), b.contiguous()
    initial = state[0].contiguous()
    states = torch.empty((B, H, T, V, K), dtype=torch.float32, device=c.device)
    output = torch.empty_like(c)
    final = torch.empty_like(initial)
    _forward_kernel[(B * H,)](
        c, w, f, r, b, initial, states, output, final, T, H, K=K, V=V, BLOCK_K=triton.next_power_of_2(K),
        BLOCK_V=triton.next_power_of_2(V), num_warps=tuning["num_warps"],
    )
    return output, (final,), (c, w, f, r, b, states)


def backward(residuals, d_output, d_state, *, needs, tuning):
    c, w, f, r, b, states = residuals
    B, T, H, V = c.shape
    K = w.shape[-1]
    d_output, d_final = d_output.contiguous(), d_state[0].contiguous()
    d_c, d_w, d_r = torch.empty_like(c), torch.empty_like(w), torch.empty_like(r)
    d_f, d_b = torch.empty_like(f), torch.empty_like(b)
    d_initial = torch.empty_like(d_final)
    _backward_kernel[(B * H,)](
        c, w, f, r, b, states, d_output, d_final, d_c, d_w, d_f, d_r, d_b, d_initial, T, H, K=K, V=V,
        BLOCK_K=triton.next_power_of_2(K), BLOCK_V=triton.next_power_of_2(V), num_warps=tuning["num_warps"],
    )
    return d_c, d_w, d_f, d_r, d_b, d_initial
