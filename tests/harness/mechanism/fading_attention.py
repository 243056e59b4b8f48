"""Linear attention with one learned decay per head: a small honest mechanism outside every family.

S_t = exp(a) S_{t-1} + k_t v_t^T,    o_t = q_t^T S_t.   O(T K V) time, O(K V) state per head.
"""

import torch
import triton
import triton.language as tl

SPEC = {
    "contract": 1,
    "template": "free",
    "causal": True,
    "inputs": {"q": "B T H K", "k": "B T H K : unit_norm", "v": "B T H V"},
    "params": {"a": "H : log_decay"},
    "dims": {},
    "constants": {},
    "output": "B T H V",
    "state": {"S": "B H K V : normal, float32"},
}
TUNING = [{"num_warps": 4}, {"num_warps": 1}]


def reference(q, k, v, a, *, state):
    (S,) = state
    decay = torch.exp(a)[None, :, None, None]
    outputs = []
    for t in range(q.shape[1]):
        S = decay * S + k[:, t, :, :, None] * v[:, t, :, None, :]
        outputs.append(torch.einsum("bhk,bhkv->bhv", q[:, t], S))
    return torch.stack(outputs, dim=1), (S,)


def parallel(q, k, v, a, *, state):
    (S,) = state
    T = q.shape[1]
    steps = torch.arange(T, device=q.device)
    lag = steps[:, None] - steps[None, :]
    decay = torch.where(lag >= 0, torch.exp(a[:, None, None] * lag.clamp(min=0)), 0.0)  # (H, T, T)
    carried = torch.exp(a[None, :] * (steps[:, None] + 1))  # (T, H)
    left = torch.exp(a[None, :] * (T - 1 - steps[:, None]))  # (T, H)
    scores = torch.einsum("bihk,bjhk->bhij", q, k) * decay
    output = torch.einsum("bhij,bjhv->bihv", scores, v)
    output = output + torch.einsum("bihk,bhkv->bihv", q * carried[None, :, :, None], S)
    final = torch.exp(a * T)[None, :, None, None] * S
    return output, (final + torch.einsum("bjhk,bjhv->bhkv", k * left[None, :, :, None], v),)


@triton.jit
def _forward_kernel(
    q_ptr,
    k_ptr,
    v_ptr,
    a_ptr,
    initial_ptr,
    states_ptr,
    o_ptr,
    final_ptr,
    T,
    H,
    K: tl.constexpr,
    V: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_V: tl.constexpr,
):
    """Grid (B * H,): the recurrence of one head; keeps the state before every token."""
    i_bh = tl.program_id(0)
    i_b = i_bh // H
    i_h = i_bh % H
    rows = tl.arange(0, BLOCK_K)
    columns = tl.arange(0, BLOCK_V)
    tile = rows[:, None] * V + columns[None, :]
    inside = (rows[:, None] < K) & (columns[None, :] < V)
    decay = tl.exp(tl.load(a_ptr + i_h))
    S = tl.load(initial_ptr + i_bh * K * V + tile, mask=inside, other=0.0)
    for t in range(T):
        tl.store(states_ptr + (i_bh * T + t) * K * V + tile, S, mask=inside)
        row = (i_b * T + t) * H + i_h
        q = tl.load(q_ptr + row * K + rows, mask=rows < K, other=0.0).to(tl.float32)
        k = tl.load(k_ptr + row * K + rows, mask=rows < K, other=0.0).to(tl.float32)
        v = tl.load(v_ptr + row * V + columns, mask=columns < V, other=0.0).to(tl.float32)
        S = decay * S + k[:, None] * v[None, :]
        o = tl.sum(q[:, None] * S, 0)
        tl.store(o_ptr + row * V + columns, o.to(o_ptr.dtype.element_ty), mask=columns < V)
    tl.store(final_ptr + i_bh * K * V + tile, S, mask=inside)


@triton.jit
def _backward_kernel(
    q_ptr,
    k_ptr,
    v_ptr,
    a_ptr,
    states_ptr,
    d_o_ptr,
    d_final_ptr,
    d_q_ptr,
    d_k_ptr,
    d_v_ptr,
    d_a_ptr,
    d_initial_ptr,
    T,
    H,
    K: tl.constexpr,
    V: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_V: tl.constexpr,
):
    """Grid (B * H,): `_forward_kernel` in reverse; d_a_ptr (B, H) holds one sequence's part each."""
    i_bh = tl.program_id(0)
    i_b = i_bh // H
    i_h = i_bh % H
    rows = tl.arange(0, BLOCK_K)
    columns = tl.arange(0, BLOCK_V)
    tile = rows[:, None] * V + columns[None, :]
    inside = (rows[:, None] < K) & (columns[None, :] < V)
    decay = tl.exp(tl.load(a_ptr + i_h))
    d_S = tl.load(d_final_ptr + i_bh * K * V + tile, mask=inside, other=0.0)
    d_decay = tl.zeros((BLOCK_K,), tl.float32)
    for step in range(T):
        t = T - 1 - step
        before = tl.load(states_ptr + (i_bh * T + t) * K * V + tile, mask=inside, other=0.0)
        row = (i_b * T + t) * H + i_h
        q = tl.load(q_ptr + row * K + rows, mask=rows < K, other=0.0).to(tl.float32)
        k = tl.load(k_ptr + row * K + rows, mask=rows < K, other=0.0).to(tl.float32)
        v = tl.load(v_ptr + row * V + columns, mask=columns < V, other=0.0).to(tl.float32)
        d_o = tl.load(d_o_ptr + row * V + columns, mask=columns < V, other=0.0).to(tl.float32)
        after = decay * before + k[:, None] * v[None, :]
        d_S += q[:, None] * d_o[None, :]
        d_q = tl.sum(after * d_o[None, :], 1)
        d_k = tl.sum(d_S * v[None, :], 1)
        d_v = tl.sum(d_S * k[:, None], 0)
        tl.store(d_q_ptr + row * K + rows, d_q.to(d_q_ptr.dtype.element_ty), mask=rows < K)
        tl.store(d_k_ptr + row * K + rows, d_k.to(d_k_ptr.dtype.element_ty), mask=rows < K)
        tl.store(d_v_ptr + row * V + columns, d_v.to(d_v_ptr.dtype.element_ty), mask=columns < V)
        d_decay += tl.sum(d_S * before, 1)
        d_S = decay * d_S
    tl.store(d_a_ptr + i_bh, tl.sum(d_decay, 0) * decay)
    tl.store(d_initial_ptr + i_bh * K * V + tile, d_S, mask=inside)


@triton.jit
def _sum_kernel(parts_ptr, total_ptr, B, H):
    """Grid (H,): parts (B, H) summed over B, in order."""
    i_h = tl.program_id(0)
    total = tl.load(parts_ptr + i_h)
    for i_b in range(1, B):
        total += tl.load(parts_ptr + i_b * H + i_h)
    tl.store(total_ptr + i_h, total)


def forward(q, k, v, a, *, state, tuning):
    B, T, H, K = q.shape
    V = v.shape[-1]
    q, k, v, a = q.contiguous(), k.contiguous(), v.contiguous(), a.contiguous()
    initial = state[0].contiguous()
    states = torch.empty((B, H, T, K, V), dtype=torch.float32, device=q.device)
    output = torch.empty((B, T, H, V), dtype=q.dtype, device=q.device)
    final = torch.empty((B, H, K, V), dtype=torch.float32, device=q.device)
    _forward_kernel[(B * H,)](
        q,
        k,
        v,
        a,
        initial,
        states,
        output,
        final,
        T,
        H,
        K=K,
        V=V,
        BLOCK_K=triton.next_power_of_2(K),
        BLOCK_V=triton.next_power_of_2(V),
        num_warps=tuning["num_warps"],
    )
    return output, (final,), (q, k, v, a, states)


def backward(residuals, d_output, d_state, *, needs, tuning):
    q, k, v, a, states = residuals
    B, T, H, K = q.shape
    V = v.shape[-1]
    d_output, d_final = d_output.contiguous(), d_state[0].contiguous()
    d_q, d_k, d_v = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
    d_initial = torch.empty_like(d_final)
    d_a_parts = torch.empty((B, H), dtype=torch.float32, device=q.device)
    _backward_kernel[(B * H,)](
        q,
        k,
        v,
        a,
        states,
        d_output,
        d_final,
        d_q,
        d_k,
        d_v,
        d_a_parts,
        d_initial,
        T,
        H,
        K=K,
        V=V,
        BLOCK_K=triton.next_power_of_2(K),
        BLOCK_V=triton.next_power_of_2(V),
        num_warps=tuning["num_warps"],
    )
    if not needs[3]:
        return d_q, d_k, d_v, None, d_initial
    d_a = torch.empty_like(a)
    _sum_kernel[(H,)](d_a_parts, d_a, B, H)
    return d_q, d_k, d_v, d_a, d_initial
