"""Sliding-window softmax attention: each token attends to itself and the fifteen before it.

    o_i = sum_{i - 16 < j <= i} softmax_j(q_i . k_j / sqrt(K)) v_j.   O(T W (K + V)) time, no state.
Source: Beltagy et al. 2020, "Longformer" (arXiv:2004.05150), causal window without global tokens.
"""

import math

import torch
import triton
import triton.language as tl

SPEC = {
    "contract": 1,
    "template": "free",
    "causal": True,
    "inputs": {"q": "B T H K", "k": "B T H K", "v": "B T H V"},
    "params": {},
    "dims": {},
    "constants": {"window": 16},
    "output": "B T H V",
    "state": {},
    "dtypes_extra": ["float16"],
}
TUNING = [
    {"BLOCK": 32, "num_warps": 4, "num_stages": 2, "EXP2": 1},
    {"BLOCK": 16, "num_warps": 2, "num_stages": 3, "EXP2": 0},
]


def reference(q, k, v, *, state, window):
    T = q.shape[1]
    steps = torch.arange(T, device=q.device)
    lag = steps[:, None] - steps[None, :]
    scores = torch.einsum("bihk,bjhk->bhij", q, k) * q.shape[-1] ** -0.5
    scores = torch.where((lag >= 0) & (lag < window), scores, float("-inf"))
    return torch.einsum("bhij,bjhv->bihv", torch.softmax(scores, dim=-1), v), ()


@triton.jit
def _load(ptr, i_b, i_h, first, T, H, D: tl.constexpr, BLOCK: tl.constexpr, BLOCK_D: tl.constexpr):
    """Tile (BLOCK, BLOCK_D) of a (B, T, H, D) tensor."""
    t = first + tl.arange(0, BLOCK)
    d = tl.arange(0, BLOCK_D)
    offsets = ((i_b * T + t[:, None]) * H + i_h) * D + d[None, :]
    return tl.load(ptr + offsets, mask=(t[:, None] >= 0) & (t[:, None] < T) & (d[None, :] < D), other=0.0)


@triton.jit
def _store(ptr, x, i_b, i_h, first, T, H, D: tl.constexpr, BLOCK: tl.constexpr, BLOCK_D: tl.constexpr):
    t = first + tl.arange(0, BLOCK)
    d = tl.arange(0, BLOCK_D)
    offsets = ((i_b * T + t[:, None]) * H + i_h) * D + d[None, :]
    tl.store(ptr + offsets, x.to(ptr.dtype.element_ty), mask=(t[:, None] < T) & (d[None, :] < D))


@triton.jit
def _scores(q, k, scale, first_i, first_j, T, WINDOW: tl.constexpr, BLOCK: tl.constexpr):
    """Scaled scores (BLOCK, BLOCK), -inf outside the window and past the end."""
    i = first_i + tl.arange(0, BLOCK)[:, None]
    j = first_j + tl.arange(0, BLOCK)[None, :]
    scores = tl.dot(q, tl.trans(k), input_precision="ieee") * scale
    return tl.where((j <= i) & (j > i - WINDOW) & (j >= 0) & (j < T), scores, float("-inf"))


@triton.jit
def _forward_kernel(
    q_ptr, k_ptr, v_ptr, o_ptr, lse_ptr, scale, T, H, K: tl.constexpr, V: tl.constexpr, WINDOW: tl.constexpr,
    BLOCK: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_V: tl.constexpr, EXP2: tl.constexpr,
):
    """Grid (tiles of queries, B * H): online softmax from the diagonal tile backwards."""
    first = tl.program_id(0) * BLOCK
    i_b = tl.program_id(1) // H
    i_h = tl.program_id(1) % H
    q = _load(q_ptr, i_b, i_h, first, T, H, K, BLOCK, BLOCK_K)
    top = tl.full((BLOCK,), -1.0e30, tl.float32)
    total = tl.zeros((BLOCK,), tl.float32)
    o = tl.zeros((BLOCK, BLOCK_V), tl.float32)
    first_j = first
    while (first_j > first - WINDOW - BLOCK) & (first_j >= 0):
        k = _load(k_ptr, i_b, i_h, first_j, T, H, K, BLOCK, BLOCK_K)
        v = _load(v_ptr, i_b, i_h, first_j, T, H, V, BLOCK, BLOCK_V)
        scores = _scores(q, k, scale, first, first_j, T, WINDOW, BLOCK)
        new_top = tl.maximum(top, tl.max(scores, 1))
        if EXP2:
            p = tl.exp2((scores - new_top[:, None]) * 1.4426950408889634)
            shrink = tl.exp2((top - new_top) * 1.4426950408889634)
        else:
            p = tl.exp(scores - new_top[:, None])
            shrink = tl.exp(top - new_top)
        total = total * shrink + tl.sum(p, 1)
        o = tl.dot(p.to(v.dtype), v, o * shrink[:, None], input_precision="ieee")
        top = new_top
        first_j -= BLOCK
    t = first + tl.arange(0, BLOCK)
    total = tl.where(t < T, total, 1.0)
    _store(o_ptr, o / total[:, None], i_b, i_h, first, T, H, V, BLOCK, BLOCK_V)
    tl.store(lse_ptr + tl.program_id(1) * T + t, top + tl.log(total), mask=t < T)


@triton.jit
def _delta_kernel(o_ptr, d_o_ptr, delta_ptr, T, H, V: tl.constexpr, BLOCK: tl.constexpr, BLOCK_V: tl.constexpr):
    """Grid (tiles of queries, B * H): delta_i = o_i . d_o_i."""
    first = tl.program_id(0) * BLOCK
    i_b = tl.program_id(1) // H
    i_h = tl.program_id(1) % H
    o = _load(o_ptr, i_b, i_h, first, T, H, V, BLOCK, BLOCK_V).to(tl.float32)
    d_o = _load(d_o_ptr, i_b, i_h, first, T, H, V, BLOCK, BLOCK_V).to(tl.float32)
    t = first + tl.arange(0, BLOCK)
    tl.store(delta_ptr + tl.program_id(1) * T + t, tl.sum(o * d_o, 1), mask=t < T)


@triton.jit
def _query_grad_kernel(
    q_ptr, k_ptr, v_ptr, lse_ptr, delta_ptr, d_o_ptr, d_q_ptr, scale, T, H, K: tl.constexpr, V: tl.constexpr,
    WINDOW: tl.constexpr, BLOCK: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_V: tl.constexpr,
):
    """Grid (tiles of queries, B * H)."""
    first = tl.program_id(0) * BLOCK
    i_b = tl.program_id(1) // H
    i_h = tl.program_id(1) % H
    t = first + tl.arange(0, BLOCK)
    q = _load(q_ptr, i_b, i_h, first, T, H, K, BLOCK, BLOCK_K)
    d_o = _load(d_o_ptr, i_b, i_h, first, T, H, V, BLOCK, BLOCK_V)
    lse = tl.load(lse_ptr + tl.program_id(1) * T + t, mask=t < T, other=0.0)
    delta = tl.load(delta_ptr + tl.program_id(1) * T + t, mask=t < T, other=0.0)
    d_q = tl.zeros((BLOCK, BLOCK_K), tl.float32)
    for back in range(0, tl.cdiv(WINDOW, BLOCK) + 1):
        first_j = first - back * BLOCK
        k = _load(k_ptr, i_b, i_h, first_j, T, H, K, BLOCK, BLOCK_K)
        v = _load(v_ptr, i_b, i_h, first_j, T, H, V, BLOCK, BLOCK_V)
        p = tl.exp(_scores(q, k, scale, first, first_j, T, WINDOW, BLOCK) - lse[:, None])
        d_p = tl.dot(d_o, tl.trans(v), input_precision="ieee")
        d_scores = p * (d_p - delta[:, None]) * scale
        d_q = tl.dot(d_scores.to(k.dtype), k, d_q, input_precision="ieee")
    _store(d_q_ptr, d_q, i_b, i_h, first, T, H, K, BLOCK, BLOCK_K)


@triton.jit
def _key_grad_kernel(
    q_ptr, k_ptr, v_ptr, lse_ptr, delta_ptr, d_o_ptr, d_k_ptr, d_v_ptr, scale, T, H, K: tl.constexpr, V: tl.constexpr,
    WINDOW: tl.constexpr, BLOCK: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_V: tl.constexpr,
):
    """Grid (tiles of keys, B * H)."""
    first = tl.program_id(0) * BLOCK
    i_b = tl.program_id(1) // H
    i_h = tl.program_id(1) % H
    k = _load(k_ptr, i_b, i_h, first, T, H, K, BLOCK, BLOCK_K)
    v = _load(v_ptr, i_b, i_h, first, T, H, V, BLOCK, BLOCK_V)
    d_k = tl.zeros((BLOCK, BLOCK_K), tl.float32)
    d_v = tl.zeros((BLOCK, BLOCK_V), tl.float32)
    last = tl.minimum(first + BLOCK + WINDOW, T)
    for first_i in range(first, last, BLOCK):
        t = first_i + tl.arange(0, BLOCK)
        q = _load(q_ptr, i_b, i_h, first_i, T, H, K, BLOCK, BLOCK_K)
        d_o = _load(d_o_ptr, i_b, i_h, first_i, T, H, V, BLOCK, BLOCK_V)
        lse = tl.load(lse_ptr + tl.program_id(1) * T + t, mask=t < T, other=0.0)
        delta = tl.load(delta_ptr + tl.program_id(1) * T + t, mask=t < T, other=0.0)
        p = tl.exp(_scores(q, k, scale, first_i, first, T, WINDOW, BLOCK) - lse[:, None])
        p = tl.where(t[:, None] < T, p, 0.0)
        d_v = tl.dot(tl.trans(p.to(d_o.dtype)), d_o, d_v, input_precision="ieee")
        d_p = tl.dot(d_o, tl.trans(v), input_precision="ieee")
        d_scores = p * (d_p - delta[:, None]) * scale
        d_k = tl.dot(tl.trans(d_scores.to(q.dtype)), q, d_k, input_precision="ieee")
    _store(d_k_ptr, d_k, i_b, i_h, first, T, H, K, BLOCK, BLOCK_K)
    _store(d_v_ptr, d_v, i_b, i_h, first, T, H, V, BLOCK, BLOCK_V)


def forward(q, k, v, *, state, tuning, window):
    B, T, H, K = q.shape
    V = v.shape[-1]
    q, k, v = q.contiguous(), k.contiguous(), v.contiguous()
    output = torch.empty((B, T, H, V), dtype=v.dtype, device=v.device)
    lse = torch.empty((B, H, T), dtype=torch.float32, device=v.device)
    _forward_kernel[(triton.cdiv(T, tuning["BLOCK"]), B * H)](
        q, k, v, output, lse, 1.0 / math.sqrt(K), T, H, K=K, V=V, WINDOW=window, BLOCK=tuning["BLOCK"],
        BLOCK_K=max(16, triton.next_power_of_2(K)), BLOCK_V=max(16, triton.next_power_of_2(V)), EXP2=tuning["EXP2"],
        num_warps=tuning["num_warps"], num_stages=tuning["num_stages"],
    )
    return output, (), (q, k, v, output, lse)


def backward(residuals, d_output, d_state, *, needs, tuning, window):
    q, k, v, output, lse = residuals
    B, T, H, K = q.shape
    V = v.shape[-1]
    block = tuning["BLOCK"]
    grid = (triton.cdiv(T, block), B * H)
    block_k, block_v = max(16, triton.next_power_of_2(K)), max(16, triton.next_power_of_2(V))
    d_output = d_output.contiguous()
    delta = torch.empty_like(lse)
    _delta_kernel[grid](output, d_output, delta, T, H, V=V, BLOCK=block, BLOCK_V=block_v)
    d_q, d_k, d_v = None, None, None
    if needs[0]:
        d_q = torch.empty_like(q)
        _query_grad_kernel[grid](
            q, k, v, lse, delta, d_output, d_q, 1.0 / math.sqrt(K), T, H, K=K, V=V, WINDOW=window, BLOCK=block,
            BLOCK_K=block_k, BLOCK_V=block_v, num_warps=tuning["num_warps"], num_stages=tuning["num_stages"],
        )
    if needs[1] or needs[2]:
        d_k, d_v = torch.empty_like(k), torch.empty_like(v)
        _key_grad_kernel[grid](
            q, k, v, lse, delta, d_output, d_k, d_v, 1.0 / math.sqrt(K), T, H, K=K, V=V, WINDOW=window, BLOCK=block,
            BLOCK_K=block_k, BLOCK_V=block_v, num_warps=tuning["num_warps"], num_stages=tuning["num_stages"],
        )
    return d_q, d_k, d_v
