"""Softmax attention over a sliding window of past tokens, in tiles, with a running maximum.

    o_i = sum_j softmax_j(q_i . k_j / sqrt(K)) v_j   over   i - window < j <= i

Written as people write Triton: a grid as a lambda, tuning unpacked into the launch, helpers, constexpr branches,
`tl.range` with stages, block pointers, -inf masks, lists and loops on the host. It needs no torch.matmul.
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
    "constants": {"window": 24},
    "output": "B T H V",
    "state": {},
    "dtypes_extra": ["float16"],
}
TUNING = [
    {"BLOCK_T": 16, "num_warps": 2, "num_stages": 1},
    {"BLOCK_T": 32, "num_warps": 4, "num_stages": 2},
]


def reference(q, k, v, *, state, window):
    """Every pair of tokens at once, masked."""
    T = q.shape[1]
    i = torch.arange(T, device=q.device)[:, None]
    j = torch.arange(T, device=q.device)[None, :]
    allowed = (j <= i) & (j > i - window)
    scores = torch.einsum("bihk,bjhk->bhij", q, k) * q.shape[-1] ** -0.5
    weights = torch.softmax(scores.masked_fill(~allowed, float("-inf")), dim=-1)
    return torch.einsum("bhij,bjhv->bihv", weights, v), ()


@triton.jit
def _offsets(first, i_b, i_h, T, H, SIZE, BLOCK_T: tl.constexpr, BLOCK_D: tl.constexpr):
    """Offsets and mask of a (BLOCK_T, BLOCK_D) tile of a (B, T, H, SIZE) tensor."""
    rows = first + tl.arange(0, BLOCK_T)[:, None]
    columns = tl.arange(0, BLOCK_D)[None, :]
    return ((i_b * T + rows) * H + i_h) * SIZE + columns, (rows < T) & (columns < SIZE)


@triton.jit
def _scores(q, k, first_i, first_j, T, scale, window, BLOCK_T: tl.constexpr):
    """Scaled scores of a tile, -inf outside of the window."""
    i = first_i + tl.arange(0, BLOCK_T)[:, None]
    j = first_j + tl.arange(0, BLOCK_T)[None, :]
    allowed = (j <= i) & (j > i - window) & (i < T)
    s = tl.dot(q, tl.trans(k), input_precision="ieee") * scale
    return tl.where(allowed, s, float("-inf"))


@triton.jit
def _forward_kernel(
    q_ptr, k_ptr, v_ptr, o_ptr, lse_ptr, scale, T, H, K, V, window,
    BLOCK_T: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_V: tl.constexpr, SAVE: tl.constexpr = True,
):
    first_i = tl.program_id(0) * BLOCK_T
    i_b, i_h = tl.program_id(1) // H, tl.program_id(1) % H
    if first_i >= T:
        return
    at, mask = _offsets(first_i, i_b, i_h, T, H, K, BLOCK_T, BLOCK_K)
    q = tl.load(q_ptr + at, mask=mask, other=0.0)
    top = tl.full([BLOCK_T], float("-inf"), dtype=tl.float32)
    total = tl.zeros([BLOCK_T], dtype=tl.float32)
    acc = tl.zeros([BLOCK_T, BLOCK_V], dtype=tl.float32)
    start = tl.maximum(first_i - window + 1, 0) // BLOCK_T
    for tile in tl.range(start, first_i // BLOCK_T + 1, num_stages=1):
        first_j = tile * BLOCK_T
        k_block = tl.make_block_ptr(
            base=k_ptr + (i_b * T * H + i_h) * K, shape=(T, K), strides=(H * K, 1), offsets=(first_j, 0),
            block_shape=(BLOCK_T, BLOCK_K), order=(1, 0),
        )
        k = tl.load(k_block, boundary_check=(0, 1), padding_option="zero")
        at, mask = _offsets(first_j, i_b, i_h, T, H, V, BLOCK_T, BLOCK_V)
        v = tl.load(v_ptr + at, mask=mask, other=0.0, eviction_policy="evict_last")
        s = _scores(q, k, first_i, first_j, T, scale, window, BLOCK_T)
        new_top = tl.maximum(top, tl.max(s, 1))
        safe = tl.where(new_top == float("-inf"), 0.0, new_top)
        p = tl.exp(s - safe[:, None])
        fade = tl.exp(top - safe)
        total = total * fade + tl.sum(p, 1)
        acc = tl.dot(p.to(v.dtype), v, acc * fade[:, None], input_precision="ieee")
        top = new_top
    acc /= tl.where(total > 0.0, total, 1.0)[:, None]
    at, mask = _offsets(first_i, i_b, i_h, T, H, V, BLOCK_T, BLOCK_V)
    tl.store(o_ptr + at, acc.to(o_ptr.dtype.element_ty), mask=mask)
    if SAVE:
        rows = first_i + tl.arange(0, BLOCK_T)
        tl.store(lse_ptr + (i_b * T + rows) * H + i_h, top + tl.log(total), mask=rows < T)


@triton.jit
def _query_grad_kernel(
    q_ptr, k_ptr, v_ptr, o_ptr, lse_ptr, d_o_ptr, d_q_ptr, delta_ptr, scale, T, H, K, V, window,
    BLOCK_T: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_V: tl.constexpr,
):
    first_i = tl.program_id(0) * BLOCK_T
    i_b, i_h = tl.program_id(1) // H, tl.program_id(1) % H
    rows = first_i + tl.arange(0, BLOCK_T)
    at_q, mask_q = _offsets(first_i, i_b, i_h, T, H, K, BLOCK_T, BLOCK_K)
    at_o, mask_o = _offsets(first_i, i_b, i_h, T, H, V, BLOCK_T, BLOCK_V)
    q = tl.load(q_ptr + at_q, mask=mask_q, other=0.0)
    o = tl.load(o_ptr + at_o, mask=mask_o, other=0.0)
    d_o = tl.load(d_o_ptr + at_o, mask=mask_o, other=0.0)
    lse = tl.load(lse_ptr + (i_b * T + rows) * H + i_h, mask=rows < T, other=0.0)
    delta = tl.sum(o.to(tl.float32) * d_o.to(tl.float32), 1)
    tl.store(delta_ptr + (i_b * T + rows) * H + i_h, delta, mask=rows < T)
    d_q = tl.zeros([BLOCK_T, BLOCK_K], dtype=tl.float32)
    for tile in range(tl.maximum(first_i - window + 1, 0) // BLOCK_T, first_i // BLOCK_T + 1):
        at_k, mask_k = _offsets(tile * BLOCK_T, i_b, i_h, T, H, K, BLOCK_T, BLOCK_K)
        at_v, mask_v = _offsets(tile * BLOCK_T, i_b, i_h, T, H, V, BLOCK_T, BLOCK_V)
        k = tl.load(k_ptr + at_k, mask=mask_k, other=0.0)
        v = tl.load(v_ptr + at_v, mask=mask_v, other=0.0)
        p = tl.exp(_scores(q, k, first_i, tile * BLOCK_T, T, scale, window, BLOCK_T) - lse[:, None])
        d_p = tl.dot(d_o, tl.trans(v), input_precision="ieee")
        d_s = p * (d_p - delta[:, None]) * scale
        d_q = tl.dot(d_s.to(k.dtype), k, d_q, input_precision="ieee")
    tl.store(d_q_ptr + at_q, d_q.to(d_q_ptr.dtype.element_ty), mask=mask_q)


@triton.jit
def _key_grad_kernel(
    q_ptr, k_ptr, v_ptr, lse_ptr, delta_ptr, d_o_ptr, d_k_ptr, d_v_ptr, scale, T, H, K, V, window,
    BLOCK_T: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_V: tl.constexpr,
):
    first_j = tl.program_id(0) * BLOCK_T
    i_b, i_h = tl.program_id(1) // H, tl.program_id(1) % H
    at_k, mask_k = _offsets(first_j, i_b, i_h, T, H, K, BLOCK_T, BLOCK_K)
    at_v, mask_v = _offsets(first_j, i_b, i_h, T, H, V, BLOCK_T, BLOCK_V)
    k = tl.load(k_ptr + at_k, mask=mask_k, other=0.0)
    v = tl.load(v_ptr + at_v, mask=mask_v, other=0.0)
    d_k = tl.zeros([BLOCK_T, BLOCK_K], dtype=tl.float32)
    d_v = tl.zeros([BLOCK_T, BLOCK_V], dtype=tl.float32)
    last = tl.minimum(first_j + BLOCK_T + window - 1, T)
    for tile in range(first_j // BLOCK_T, tl.cdiv(last, BLOCK_T)):
        first_i = tile * BLOCK_T
        rows = first_i + tl.arange(0, BLOCK_T)
        at_q, mask_q = _offsets(first_i, i_b, i_h, T, H, K, BLOCK_T, BLOCK_K)
        at_o, mask_o = _offsets(first_i, i_b, i_h, T, H, V, BLOCK_T, BLOCK_V)
        q = tl.load(q_ptr + at_q, mask=mask_q, other=0.0)
        d_o = tl.load(d_o_ptr + at_o, mask=mask_o, other=0.0)
        lse = tl.load(lse_ptr + (i_b * T + rows) * H + i_h, mask=rows < T, other=0.0)
        delta = tl.load(delta_ptr + (i_b * T + rows) * H + i_h, mask=rows < T, other=0.0)
        p = tl.exp(_scores(q, k, first_i, first_j, T, scale, window, BLOCK_T) - lse[:, None])
        d_v = tl.dot(tl.trans(p).to(d_o.dtype), d_o, d_v, input_precision="ieee")
        d_p = tl.dot(d_o, tl.trans(v), input_precision="ieee")
        d_s = p * (d_p - delta[:, None]) * scale
        d_k = tl.dot(tl.trans(d_s).to(q.dtype), q, d_k, input_precision="ieee")
    tl.store(d_k_ptr + at_k, d_k.to(d_k_ptr.dtype.element_ty), mask=mask_k)
    tl.store(d_v_ptr + at_v, d_v.to(d_v_ptr.dtype.element_ty), mask=mask_v)


def _blocks(K, V):
    """Tile widths for head dimensions: powers of two that a dot accepts."""
    return [max(16, triton.next_power_of_2(size)) for size in (K, V)]


def forward(q, k, v, *, state, tuning, window):
    if window < 1:
        raise ValueError("window must be at least 1")
    q, k, v = q.contiguous(), k.contiguous(), v.contiguous()
    B, T, H, K = q.shape
    V = v.shape[-1]
    assert k.shape == q.shape, "q and k have the same shape"
    block_k, block_v = _blocks(K, V)
    output = torch.empty((B, T, H, V), dtype=v.dtype, device=v.device)
    lse = torch.empty((B, T, H), dtype=torch.float32, device=q.device)
    grid = lambda meta: (triton.cdiv(T, meta["BLOCK_T"]), B * H)
    _forward_kernel[grid](
        q, k, v, output, lse, 1.0 / math.sqrt(K), T, H, K, V, window, BLOCK_K=block_k, BLOCK_V=block_v, **tuning
    )
    return output, (), (q, k, v, output, lse)


def backward(residuals, d_output, d_state, *, needs, tuning, window):
    q, k, v, output, lse = residuals
    d_output = d_output.contiguous()
    B, T, H, K = q.shape
    V = v.shape[-1]
    block_k, block_v = _blocks(K, V)
    d_q, d_k, d_v = [torch.empty_like(x) for x in (q, k, v)]
    delta = torch.empty_like(lse)
    grid = (triton.cdiv(T, tuning["BLOCK_T"]), B * H)
    scale = 1.0 / math.sqrt(K)
    _query_grad_kernel[grid](
        q, k, v, output, lse, d_output, d_q, delta, scale, T, H, K, V, window,
        BLOCK_K=block_k, BLOCK_V=block_v, **tuning,
    )
    if not (needs[1] or needs[2]):
        return d_q, None, None
    _key_grad_kernel[grid](
        q, k, v, lse, delta, d_output, d_k, d_v, scale, T, H, K, V, window,
        BLOCK_K=block_k, BLOCK_V=block_v, **tuning,
    )
    return d_q, d_k, d_v
