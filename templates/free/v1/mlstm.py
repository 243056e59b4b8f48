"""mLSTM: a matrix memory with an exponential input gate, a forget gate, a normaliser and a stabiliser.

    m_t = max(f_t + m_{t-1}, i_t),    C_t = exp(f_t + m_{t-1} - m_t) C_{t-1} + exp(i_t - m_t) k_t v_t^T,
    n_t the same with k_t alone,      o_t = C_t^T q_t / max(|n_t^T q_t|, exp(-m_t)),    q_t scaled by K^-1/2

Cost: O(T K V) time in chunks of matrix products, O(K V) state per head. i and f are logarithms of the gates.
exp(m) C and exp(m) n are what they would be without a stabiliser, so the outputs do not depend on m.
Source: Beck et al. 2024, "xLSTM: Extended Long Short-Term Memory" (arXiv:2405.04517), section 2.3 with the
stabiliser of 2.2. Here q and k have unit length, so that half an ulp does not decide the sign of n^T q.
"""

import math

import torch
import triton
import triton.language as tl

SPEC = {
    "contract": 1,
    "template": "free",
    "causal": True,
    "inputs": {
        "q": "B T H K : unit_norm", "k": "B T H K : unit_norm", "v": "B T H V",
        "i": "B T H : normal, float32", "f": "B T H : log_decay, float32",
    },
    "params": {}, "dims": {}, "constants": {},
    "output": "B T H V",
    "state": {"C": "B H K V : normal, float32", "n": "B H K : normal, float32", "m": "B H : normal, float32"},
}
TUNING = [
    {"CHUNK": 32, "num_warps": 4, "num_stages": 2},
    {"CHUNK": 64, "num_warps": 8, "num_stages": 1},
]


def reference(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, i: torch.Tensor, f: torch.Tensor,
    *, state: tuple[torch.Tensor, ...],
) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    """The definition, one token at a time.

    q, k (B, T, H, K), v (B, T, H, V), i, f (B, T, H) natural logarithms of the gates, f <= 0, state (C, n, m)
    with C (B, H, K, V), n (B, H, K), m (B, H). Returns the output (B, T, H, V) and the final state.
    """
    C, n, m = state
    queries = q * q.shape[-1] ** -0.5
    outputs = []
    for t in range(q.shape[1]):
        carried = f[:, t] + m
        m = torch.maximum(carried, i[:, t])
        keep = torch.exp(carried - m)[..., None]
        keys = torch.exp(i[:, t] - m)[..., None] * k[:, t]
        C = keep[..., None] * C + keys[..., None] * v[:, t, :, None, :]
        n = keep * n + keys
        weight = torch.einsum("bhk,bhk->bh", queries[:, t], n)
        values = torch.einsum("bhk,bhkv->bhv", queries[:, t], C)
        outputs.append(values / torch.maximum(torch.abs(weight), torch.exp(-m))[..., None])
    return torch.stack(outputs, dim=1), (C, n, m)


def parallel(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, i: torch.Tensor, f: torch.Tensor,
    *, state: tuple[torch.Tensor, ...],
) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    """`reference` in chunks of 64 tokens: quadratic inside a chunk, recurrent between chunks."""
    C, n, m = state
    gains, fades = i.transpose(1, 2), f.transpose(1, 2)  # (B, H, T)
    outputs = []
    for start in range(0, q.shape[1], 64):
        chunk = slice(start, start + 64)
        q_c, k_c, v_c, f_c = q[:, chunk] * q.shape[-1]**-0.5, k[:, chunk], v[:, chunk], fades[..., chunk]
        seen = torch.ones(q_c.shape[1], q_c.shape[1], dtype=torch.bool, device=q.device).tril()
        spans = torch.where(seen.tril(-1), f_c[..., None], 0.0).cumsum(2)  # (B, H, C, C): f over j < s <= t
        logs = torch.where(seen, spans + gains[..., None, chunk], -math.inf)
        reach = f_c.cumsum(2) + m[..., None]  # (B, H, C)
        highest = torch.maximum(reach, logs.amax(3))
        scores = torch.einsum("bihk,bjhk->bhij", q_c, k_c) * torch.exp(logs - highest[..., None])
        from_start = torch.exp(reach - highest).transpose(1, 2)[..., None]  # (B, C, H, 1)
        q_c = q_c * from_start
        mixed = torch.einsum("bhij,bjhv->bihv", scores, v_c) + torch.einsum("bihk,bhkv->bihv", q_c, C)
        weights = scores.sum(3).transpose(1, 2) + torch.einsum("bihk,bhk->bih", q_c, n)
        sizes = torch.maximum(torch.abs(weights), torch.exp(-highest).transpose(1, 2))
        outputs.append(mixed / sizes[..., None])
        m = highest[..., -1]
        k_c = k_c * torch.exp(logs[:, :, -1] - m[..., None]).transpose(1, 2)[..., None]
        C = from_start[:, -1, :, :, None] * C + torch.einsum("bjhk,bjhv->bhkv", k_c, v_c)
        n = from_start[:, -1] * n + k_c.sum(1)
    return torch.cat(outputs, dim=1), (C, n, m)


@triton.jit
def _tile(row_stride, row_count, first_column, column_count, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Offsets and mask of a (ROWS, COLUMNS) tile, from the address of its first row."""
    rows = tl.arange(0, ROWS)[:, None]
    columns = first_column + tl.arange(0, COLUMNS)[None, :]
    return rows * row_stride + columns, (rows < row_count) & (columns < column_count)


@triton.jit
def _per_token(ptr, first, H, count, other, CHUNK: tl.constexpr):
    """One number for each token first, first + 1, ... of a chunk (CHUNK,); `other` outside of its `count`."""
    rows = first + tl.arange(0, CHUNK)
    return tl.load(ptr + rows * H, mask=(rows >= 0) & (rows < count), other=other)


@triton.jit
def _log_weights(gains, fades, CHUNK: tl.constexpr):
    """i_j + f_{j+1} + ... + f_t for j <= t, else -inf: (CHUNK, CHUNK) [t, j]; each segment is its own sum."""
    t = tl.arange(0, CHUNK)[:, None]
    j = tl.arange(0, CHUNK)[None, :]
    spans = tl.cumsum(tl.where(t > j, fades[:, None], 0.0), 0)
    return tl.where(t >= j, spans + gains[None, :], float("-inf"))


@triton.jit
def _log_to_end(gains, f_ptr, H, count, CHUNK: tl.constexpr):
    """i_j + f_{j+1} + ... + f_last, from gates loaded one row later: (CHUNK,)."""
    return tl.cumsum(_per_token(f_ptr, 1, H, count, 0.0, CHUNK), 0, reverse=True) + gains


@triton.jit
def _share(x, y):
    """d max(x, y) / dx: 1 or 0, and one half where both are equal."""
    return tl.where(x > y, 1.0, tl.where(x == y, 0.5, 0.0))


@triton.jit
def _times(x, y):
    return x * y


@triton.jit
def _rest(x, like):
    """What rounding x to the dtype of `like` takes off, in that dtype; zero where that is float32."""
    return (x - x.to(like.dtype).to(tl.float32)).to(like.dtype)


@triton.jit
def _carried_share(i_ptr, f_ptr, m_ptr, m_before, first, H, count, CHUNK: tl.constexpr):
    """d m_t / d m_{t-1} of tokens first, first + 1, ... of a chunk (CHUNK,), 1 for those outside of it."""
    rows = first + tl.arange(0, CHUNK)
    inside = (rows >= 0) & (rows < count)
    m = tl.load(m_ptr + (rows - 1) * H, mask=inside & (rows > 0), other=m_before)
    carried = tl.load(f_ptr + rows * H, mask=inside, other=0.0) + m
    return tl.where(inside, _share(carried, tl.load(i_ptr + rows * H, mask=inside, other=0.0)), 1.0)


@triton.jit
def _state_kernel(
    k_ptr, v_ptr, i_ptr, f_ptr,  # (B, T, H, K), (B, T, H, V), gates (B, T, H)
    initial_ptr, n_initial_ptr, m_initial_ptr,  # (B, H, K, V), (B, H, K), (B, H)
    states_ptr, n_states_ptr,  # (B, H, chunks, K, V), (B, H, chunks, K), out: C and n before each chunk
    m_states_ptr,  # (B, H, chunks + 1), out: m before each chunk and after the last
    final_ptr, n_final_ptr, m_final_ptr,  # as the initial ones, out
    T, H,
    K: tl.constexpr, V: tl.constexpr, CHUNK: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_V: tl.constexpr,
):
    """Grid (B * H, V tiles): each carries (K, BLOCK_V) of one head's C, and m; the first V tile's also n."""
    i_bh = tl.program_id(0).to(tl.int64)
    first_v = tl.program_id(1) * BLOCK_V
    chunks = tl.cdiv(T, CHUNK)
    s_offsets, s_mask = _tile(V, K, first_v, V, BLOCK_K, BLOCK_V)
    n_offsets, n_mask = tl.arange(0, BLOCK_K), (tl.arange(0, BLOCK_K) < K) & (first_v == 0)
    state = tl.load(initial_ptr + i_bh * K * V + s_offsets, mask=s_mask, other=0.0)
    n = tl.load(n_initial_ptr + i_bh * K + n_offsets, mask=n_mask, other=0.0)
    m = tl.load(m_initial_ptr + i_bh)
    for i_c in range(0, chunks):
        tl.store(states_ptr + (i_bh * chunks + i_c) * K * V + s_offsets, state, mask=s_mask)
        tl.store(n_states_ptr + (i_bh * chunks + i_c) * K + n_offsets, n, mask=n_mask)
        tl.store(m_states_ptr + i_bh * (chunks + 1) + i_c, m, mask=first_v == 0)
        row = ((i_bh // H) * T + i_c * CHUNK) * H + i_bh % H
        count = tl.minimum(T - i_c * CHUNK, CHUNK)
        k_offsets, k_mask = _tile(H * K, count, 0, K, CHUNK, BLOCK_K)
        v_offsets, v_mask = _tile(H * V, count, first_v, V, CHUNK, BLOCK_V)
        k = tl.load(k_ptr + row * K + k_offsets, mask=k_mask, other=0.0)
        v = tl.load(v_ptr + row * V + v_offsets, mask=v_mask, other=0.0)
        gains = _per_token(i_ptr + row, 0, H, count, float("-inf"), CHUNK)
        fades = _per_token(f_ptr + row, 0, H, count, 0.0, CHUNK)
        to_end = _log_to_end(gains, f_ptr + row, H, count, CHUNK)
        carried = m + tl.sum(fades, 0)
        m = tl.maximum(carried, tl.max(to_end, 0))
        keep = tl.exp(carried - m)
        # Both sums see the same rounded keys, so that n weighs what C holds.
        keys = (k * tl.exp(to_end - m)[:, None]).to(v.dtype)
        state = tl.dot(tl.trans(keys), v, state * keep, input_precision="ieee")
        n = n * keep + tl.sum(keys.to(tl.float32), 0)
    tl.store(final_ptr + i_bh * K * V + s_offsets, state, mask=s_mask)
    tl.store(n_final_ptr + i_bh * K + n_offsets, n, mask=n_mask)
    tl.store(m_states_ptr + i_bh * (chunks + 1) + chunks, m, mask=first_v == 0)
    tl.store(m_final_ptr + i_bh, m, mask=first_v == 0)


@triton.jit
def _output_kernel(
    q_ptr, k_ptr, v_ptr, i_ptr, f_ptr,  # (B, T, H, K) twice, (B, T, H, V), gates (B, T, H)
    states_ptr, n_states_ptr, m_states_ptr,  # (B, H, chunks, K, V), (B, H, chunks, K), (B, H, chunks + 1)
    o_ptr, exact_ptr,  # (B, T, H, V), out: the same, once in float32
    weights_ptr, m_ptr,  # (B, T, H), out: n_t^T q_t and m_t
    scale, T, H,
    K: tl.constexpr, V: tl.constexpr, CHUNK: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_V: tl.constexpr,
):
    """Grid (B * H * chunks, V tiles): outputs of a chunk, from the state before it and its own tokens."""
    i_bhc = tl.program_id(0).to(tl.int64)
    first_v = tl.program_id(1) * BLOCK_V
    chunks = tl.cdiv(T, CHUNK)
    i_bh = i_bhc // chunks
    i_c = i_bhc % chunks
    row = ((i_bh // H) * T + i_c * CHUNK) * H + i_bh % H
    count = tl.minimum(T - i_c * CHUNK, CHUNK)
    k_offsets, k_mask = _tile(H * K, count, 0, K, CHUNK, BLOCK_K)
    v_offsets, v_mask = _tile(H * V, count, first_v, V, CHUNK, BLOCK_V)
    s_offsets, s_mask = _tile(V, K, first_v, V, BLOCK_K, BLOCK_V)
    columns = tl.arange(0, BLOCK_K)
    q = tl.load(q_ptr + row * K + k_offsets, mask=k_mask, other=0.0)
    k = tl.load(k_ptr + row * K + k_offsets, mask=k_mask, other=0.0)
    v = tl.load(v_ptr + row * V + v_offsets, mask=v_mask, other=0.0)
    state = tl.load(states_ptr + i_bhc * K * V + s_offsets, mask=s_mask, other=0.0)
    n = tl.load(n_states_ptr + i_bhc * K + columns, mask=columns < K, other=0.0)
    gains = _per_token(i_ptr + row, 0, H, count, float("-inf"), CHUNK)
    fades = _per_token(f_ptr + row, 0, H, count, 0.0, CHUNK)

    logs = _log_weights(gains, fades, CHUNK)
    reach = tl.load(m_states_ptr + i_bh * (chunks + 1) + i_c) + tl.cumsum(fades, 0)
    m = tl.maximum(reach, tl.max(logs, 1))
    from_start = tl.exp(reach - m) * scale
    scores = tl.dot(q, tl.trans(k), input_precision="ieee") * tl.exp(logs - m[:, None]) * scale
    # A value that dominates must come out as itself: both sums see the same scores, to float32.
    output = tl.dot(q, state.to(v.dtype), input_precision="ieee")
    output = tl.dot(q, _rest(state, v), output, input_precision="ieee") * from_start[:, None]
    output = tl.dot(scores.to(v.dtype), v, output, input_precision="ieee")
    output = tl.dot(_rest(scores, v), v, output, input_precision="ieee")
    weights = tl.sum(scores, 1) + from_start * tl.sum(q.to(tl.float32) * n[None, :], 1)
    output /= tl.maximum(tl.abs(weights), tl.exp(-m))[:, None]
    tl.store(o_ptr + row * V + v_offsets, output.to(v.dtype), mask=v_mask)
    tl.store(exact_ptr + row * V + v_offsets, output, mask=v_mask)
    rows = tl.arange(0, CHUNK)
    tl.store(weights_ptr + row + rows * H, weights, mask=(rows < count) & (first_v == 0))
    tl.store(m_ptr + row + rows * H, m, mask=(rows < count) & (first_v == 0))


@triton.jit
def _weight_grad_kernel(
    exact_ptr, d_o_ptr, weights_ptr, m_ptr,  # (B, T, H, V) twice, (B, T, H) twice
    d_weights_ptr,  # (B, T, H), out
    count, V: tl.constexpr, ROWS: tl.constexpr, BLOCK_V: tl.constexpr,
):
    """Grid (B * T * H / ROWS,): gradient by n_t^T q_t, zero where exp(-m_t) is the denominator."""
    first = tl.program_id(0).to(tl.int64) * ROWS
    offsets, v_mask = _tile(V, count - first, 0, V, ROWS, BLOCK_V)
    o = tl.load(exact_ptr + first * V + offsets, mask=v_mask, other=0.0)
    d_o = tl.load(d_o_ptr + first * V + offsets, mask=v_mask, other=0.0).to(tl.float32)
    weights = _per_token(weights_ptr + first, 0, 1, count - first, 1.0, ROWS)
    least = tl.exp(-_per_token(m_ptr + first, 0, 1, count - first, 0.0, ROWS))
    size = tl.abs(weights)
    d_size = -tl.sum(o * d_o, 1) / tl.maximum(size, least) * _share(size, least)
    rows = tl.arange(0, ROWS)
    tl.store(d_weights_ptr + first + rows, tl.where(weights < 0, -d_size, d_size), mask=rows < count - first)


@triton.jit
def _state_grad_kernel(
    q_ptr, i_ptr, f_ptr, d_o_ptr,  # (B, T, H, K), gates (B, T, H), (B, T, H, V)
    weights_ptr, m_ptr, d_weights_ptr, m_states_ptr,  # (B, T, H) thrice, (B, H, chunks + 1)
    d_final_ptr, d_n_final_ptr,  # (B, H, K, V), (B, H, K)
    d_states_ptr, d_n_states_ptr,  # (B, H, chunks, K, V), (B, H, chunks, K), out: by C and n after each chunk
    paths_ptr,  # (B, H, chunks + 1), out: d m_T / d m before each chunk, and 1
    d_initial_ptr, d_n_initial_ptr,  # (B, H, K, V), (B, H, K), out
    scale, T, H,
    K: tl.constexpr, V: tl.constexpr, CHUNK: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_V: tl.constexpr,
):
    """Grid (B * H, V tiles): `_state_kernel` backwards, from the last chunk to the first."""
    i_bh = tl.program_id(0).to(tl.int64)
    first_v = tl.program_id(1) * BLOCK_V
    chunks = tl.cdiv(T, CHUNK)
    s_offsets, s_mask = _tile(V, K, first_v, V, BLOCK_K, BLOCK_V)
    n_offsets, n_mask = tl.arange(0, BLOCK_K), (tl.arange(0, BLOCK_K) < K) & (first_v == 0)
    d_state = tl.load(d_final_ptr + i_bh * K * V + s_offsets, mask=s_mask, other=0.0)
    d_n = tl.load(d_n_final_ptr + i_bh * K + n_offsets, mask=n_mask, other=0.0)
    m_after = tl.load(m_states_ptr + i_bh * (chunks + 1) + chunks)
    path = 1.0
    for step in range(0, chunks):
        i_c = chunks - 1 - step
        tl.store(d_states_ptr + (i_bh * chunks + i_c) * K * V + s_offsets, d_state, mask=s_mask)
        tl.store(d_n_states_ptr + (i_bh * chunks + i_c) * K + n_offsets, d_n, mask=n_mask)
        tl.store(paths_ptr + i_bh * (chunks + 1) + i_c + 1, path, mask=first_v == 0)
        row = ((i_bh // H) * T + i_c * CHUNK) * H + i_bh % H
        count = tl.minimum(T - i_c * CHUNK, CHUNK)
        k_offsets, k_mask = _tile(H * K, count, 0, K, CHUNK, BLOCK_K)
        v_offsets, v_mask = _tile(H * V, count, first_v, V, CHUNK, BLOCK_V)
        q = tl.load(q_ptr + row * K + k_offsets, mask=k_mask, other=0.0)
        d_o = tl.load(d_o_ptr + row * V + v_offsets, mask=v_mask, other=0.0)
        fades = _per_token(f_ptr + row, 0, H, count, 0.0, CHUNK)
        m = _per_token(m_ptr + row, 0, H, count, float("inf"), CHUNK)
        weights = _per_token(weights_ptr + row, 0, H, count, 1.0, CHUNK)
        d_weights = _per_token(d_weights_ptr + row, 0, H, count, 0.0, CHUNK)
        m_before = tl.load(m_states_ptr + i_bh * (chunks + 1) + i_c)
        queries = q * (tl.exp(m_before + tl.cumsum(fades, 0) - m) * scale)[:, None]
        keep = tl.exp(m_before + tl.sum(fades, 0) - m_after)
        d_n = d_n * keep + tl.sum(queries * d_weights[:, None], 0)
        queries = (queries / tl.maximum(tl.abs(weights), tl.exp(-m))[:, None]).to(d_o.dtype)
        d_state = tl.dot(tl.trans(queries), d_o, d_state * keep, input_precision="ieee")
        shares = _carried_share(i_ptr + row, f_ptr + row, m_ptr + row, m_before, 0, H, count, CHUNK)
        path *= tl.reduce(shares, 0, _times)
        m_after = m_before
    tl.store(paths_ptr + i_bh * (chunks + 1), path, mask=first_v == 0)
    tl.store(d_initial_ptr + i_bh * K * V + s_offsets, d_state, mask=s_mask)
    tl.store(d_n_initial_ptr + i_bh * K + n_offsets, d_n, mask=n_mask)


@triton.jit
def _m_grad_kernel(
    final_ptr, n_final_ptr, d_final_ptr, d_n_final_ptr, d_m_final_ptr,  # (B, H, K, V), (B, H, K), ..., (B, H)
    states_ptr, n_states_ptr, d_initial_ptr, d_n_initial_ptr,  # (B, H, chunks, K, V), (B, H, chunks, K), ...
    paths_ptr,  # (B, H, chunks + 1)
    d_highest_ptr, d_m_initial_ptr,  # (B, H), out: gradient by m_T with exp(m_T) C_T fixed, and by m_0
    chunks, K: tl.constexpr, V: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_V: tl.constexpr,
):
    """Grid (B * H,): what m adds at both ends, where C and n are measured in units of exp(m)."""
    i_bh = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK_K)
    n = tl.load(n_final_ptr + i_bh * K + columns, mask=columns < K, other=0.0)
    at_end = n * tl.load(d_n_final_ptr + i_bh * K + columns, mask=columns < K, other=0.0)
    n = tl.load(n_states_ptr + i_bh * chunks * K + columns, mask=columns < K, other=0.0)
    at_start = n * tl.load(d_n_initial_ptr + i_bh * K + columns, mask=columns < K, other=0.0)
    for first_v in range(0, V, BLOCK_V):
        offsets, mask = _tile(V, K, first_v, V, BLOCK_K, BLOCK_V)
        state = tl.load(final_ptr + i_bh * K * V + offsets, mask=mask, other=0.0)
        at_end += tl.sum(state * tl.load(d_final_ptr + i_bh * K * V + offsets, mask=mask, other=0.0), 1)
        state = tl.load(states_ptr + i_bh * chunks * K * V + offsets, mask=mask, other=0.0)
        at_start += tl.sum(state * tl.load(d_initial_ptr + i_bh * K * V + offsets, mask=mask, other=0.0), 1)
    d_highest = tl.load(d_m_final_ptr + i_bh) - tl.sum(at_end, 0)
    path = tl.load(paths_ptr + i_bh * (chunks + 1))
    tl.store(d_highest_ptr + i_bh, d_highest)
    tl.store(d_m_initial_ptr + i_bh, tl.sum(at_start, 0) + path * d_highest)


@triton.jit
def _input_grad_kernel(
    q_ptr, k_ptr, v_ptr, i_ptr, f_ptr, d_o_ptr,  # (B, T, H, K) twice, (B, T, H, V), gates (B, T, H), as v
    weights_ptr, m_ptr, d_weights_ptr,  # (B, T, H)
    states_ptr, n_states_ptr, m_states_ptr,  # (B, H, chunks, K, V), (B, H, chunks, K), (B, H, chunks + 1)
    d_states_ptr, d_n_states_ptr,  # (B, H, chunks, K, V), (B, H, chunks, K): by C and n after each chunk
    paths_ptr, d_highest_ptr,  # (B, H, chunks + 1), (B, H)
    d_q_ptr, d_k_ptr, d_v_ptr, d_i_ptr, d_f_ptr,  # as the inputs, out
    scale, T, H,
    K: tl.constexpr, V: tl.constexpr, CHUNK: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_V: tl.constexpr,
):
    """Grid (B * H * chunks,): all gradients of one chunk's tokens."""
    i_bhc = tl.program_id(0).to(tl.int64)
    chunks = tl.cdiv(T, CHUNK)
    i_bh = i_bhc // chunks
    i_c = i_bhc % chunks
    i_edge = i_bh * (chunks + 1) + i_c
    row = ((i_bh // H) * T + i_c * CHUNK) * H + i_bh % H
    count = tl.minimum(T - i_c * CHUNK, CHUNK)
    columns = tl.arange(0, BLOCK_K)
    k_offsets, k_mask = _tile(H * K, count, 0, K, CHUNK, BLOCK_K)
    q = tl.load(q_ptr + row * K + k_offsets, mask=k_mask, other=0.0)
    k = tl.load(k_ptr + row * K + k_offsets, mask=k_mask, other=0.0)
    n = tl.load(n_states_ptr + i_bhc * K + columns, mask=columns < K, other=0.0)
    d_n = tl.load(d_n_states_ptr + i_bhc * K + columns, mask=columns < K, other=0.0)
    gains = _per_token(i_ptr + row, 0, H, count, float("-inf"), CHUNK)
    fades = _per_token(f_ptr + row, 0, H, count, 0.0, CHUNK)
    m = _per_token(m_ptr + row, 0, H, count, float("inf"), CHUNK)  # so that padded rows weigh nothing
    weights = _per_token(weights_ptr + row, 0, H, count, 1.0, CHUNK)
    d_weights = _per_token(d_weights_ptr + row, 0, H, count, 0.0, CHUNK)
    m_before = tl.load(m_states_ptr + i_edge)
    m_after = tl.load(m_states_ptr + i_edge + 1)
    keep = tl.exp(m_before + tl.sum(fades, 0) - m_after)
    from_start = tl.exp(m_before + tl.cumsum(fades, 0) - m) * scale
    to_end = tl.exp(_log_to_end(gains, f_ptr + row, H, count, CHUNK) - m_after)
    within = tl.exp(_log_weights(gains, fades, CHUNK) - m[:, None]) * scale
    inverse = 1.0 / tl.maximum(tl.abs(weights), tl.exp(-m))
    scores = tl.dot(q, tl.trans(k), input_precision="ieee") * within

    # Queries first, keys and values in a second pass over V: few tiles alive at a time stay in registers.
    d_scores = tl.zeros((CHUNK, CHUNK), tl.float32)
    d_q = tl.zeros((CHUNK, BLOCK_K), tl.float32)
    for first_v in range(0, V, BLOCK_V):
        v_offsets, v_mask = _tile(H * V, count, first_v, V, CHUNK, BLOCK_V)
        s_offsets, s_mask = _tile(V, K, first_v, V, BLOCK_K, BLOCK_V)
        v = tl.load(v_ptr + row * V + v_offsets, mask=v_mask, other=0.0)
        d_o = tl.load(d_o_ptr + row * V + v_offsets, mask=v_mask, other=0.0)
        state = tl.load(states_ptr + i_bhc * K * V + s_offsets, mask=s_mask, other=0.0)
        d_scores = tl.dot(d_o, tl.trans(v), d_scores, input_precision="ieee")
        d_q = tl.dot(d_o, tl.trans(state.to(v.dtype)), d_q, input_precision="ieee")
        d_q = tl.dot(d_o, tl.trans(_rest(state, v)), d_q, input_precision="ieee")
    d_scores = d_scores * inverse[:, None] + d_weights[:, None]
    d_q = (d_q * inverse[:, None] + d_weights[:, None] * n[None, :]) * from_start[:, None]
    # The gates need what crosses the chunk's edges apart from what stays inside: added up only later.
    arriving = tl.cumsum(tl.sum(q * d_q, 1), 0, reverse=True)  # readers at t and later
    inner = scores * d_scores
    d_scores = (d_scores * within).to(q.dtype)
    d_q = tl.dot(d_scores, k, d_q, input_precision="ieee")
    tl.store(d_q_ptr + row * K + k_offsets, d_q.to(q.dtype), mask=k_mask)

    scores = (scores * inverse[:, None]).to(q.dtype)
    d_k = tl.zeros((CHUNK, BLOCK_K), tl.float32) + d_n[None, :]
    passing = n * d_n
    for first_v in range(0, V, BLOCK_V):
        v_offsets, v_mask = _tile(H * V, count, first_v, V, CHUNK, BLOCK_V)
        s_offsets, s_mask = _tile(V, K, first_v, V, BLOCK_K, BLOCK_V)
        v = tl.load(v_ptr + row * V + v_offsets, mask=v_mask, other=0.0)
        d_o = tl.load(d_o_ptr + row * V + v_offsets, mask=v_mask, other=0.0)
        state = tl.load(states_ptr + i_bhc * K * V + s_offsets, mask=s_mask, other=0.0)
        d_state = tl.load(d_states_ptr + i_bhc * K * V + s_offsets, mask=s_mask, other=0.0)
        passing += tl.sum(state * d_state, 1)
        d_state = d_state.to(v.dtype)
        d_k = tl.dot(v, tl.trans(d_state), d_k, input_precision="ieee")
        d_v = tl.dot(k, d_state, input_precision="ieee") * to_end[:, None]
        d_v = tl.dot(tl.trans(scores), d_o, d_v, input_precision="ieee")
        tl.store(d_v_ptr + row * V + v_offsets, d_v.to(v.dtype), mask=v_mask)
    d_k *= to_end[:, None]
    leaving = tl.sum(k * d_k, 1)  # (j,)
    d_k = tl.dot(tl.trans(d_scores), q, d_k, input_precision="ieee")
    tl.store(d_k_ptr + row * K + k_offsets, d_k.to(k.dtype), mask=k_mask)

    t = tl.arange(0, CHUNK)
    d_m = tl.load(d_highest_ptr + i_bh) * tl.load(paths_ptr + i_edge + 1)
    later = _carried_share(i_ptr + row, f_ptr + row, m_ptr + row, m_before, 1, H, count, CHUNK)
    d_m *= tl.cumprod(later, 0, reverse=True)  # (t,): gradient by m_t
    share = _carried_share(i_ptr + row, f_ptr + row, m_ptr + row, m_before, 0, H, count, CHUNK)
    d_i = tl.sum(inner, 0) + leaving + d_m * (1.0 - share)
    tl.store(d_i_ptr + row + t * H, d_i, mask=t < count)
    crossing = tl.cumsum(inner, 0, reverse=True) + leaving[None, :]  # (t, j): readers from t on of writer j
    d_f = tl.sum(tl.where(t[:, None] > t[None, :], crossing, 0.0), 1) + d_m * share
    d_f += arriving + keep * tl.sum(passing, 0)
    tl.store(d_f_ptr + row + t * H, d_f, mask=t < count)


def forward(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, i: torch.Tensor, f: torch.Tensor,
    *, state: tuple[torch.Tensor, ...], tuning: dict[str, int],
) -> tuple[torch.Tensor, tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]:
    """Output (B, T, H, V), final state (C, n, m), residuals of `backward`; arguments as in `reference`."""
    (B, T, H, K), V = q.shape, v.shape[-1]
    chunk, num_warps, num_stages = tuning["CHUNK"], tuning["num_warps"], tuning["num_stages"]
    chunks = triton.cdiv(T, chunk)
    block_k = max(16, triton.next_power_of_2(K))
    block_v = min(64, max(16, triton.next_power_of_2(V)))
    q, k, v, i, f = q.contiguous(), k.contiguous(), v.contiguous(), i.contiguous(), f.contiguous()
    initial, n_initial, m_initial = state[0].contiguous(), state[1].contiguous(), state[2].contiguous()
    states, n_states = i.new_empty((B, H, chunks, K, V)), i.new_empty((B, H, chunks, K))
    m_states, exact = i.new_empty((B, H, chunks + 1)), i.new_empty((B, T, H, V))
    final, n_final = torch.empty_like(initial), torch.empty_like(n_initial)
    m_final, weights, m = torch.empty_like(m_initial), torch.empty_like(i), torch.empty_like(i)
    output = torch.empty_like(v)
    _state_kernel[(B * H, triton.cdiv(V, block_v))](
        k, v, i, f, initial, n_initial, m_initial, states, n_states, m_states, final, n_final, m_final, T, H,
        K=K, V=V, CHUNK=chunk, BLOCK_K=block_k, BLOCK_V=block_v, num_warps=num_warps, num_stages=num_stages,
    )
    _output_kernel[(B * H * chunks, triton.cdiv(V, block_v))](
        q, k, v, i, f, states, n_states, m_states, output, exact, weights, m, K**-0.5, T, H,
        K=K, V=V, CHUNK=chunk, BLOCK_K=block_k, BLOCK_V=block_v, num_warps=num_warps, num_stages=num_stages,
    )
    residuals = (q, k, v, i, f, exact, weights, m, states, n_states, m_states, final, n_final)
    return output, (final, n_final, m_final), residuals


def backward(
    residuals: tuple[torch.Tensor, ...], d_output: torch.Tensor, d_state: tuple[torch.Tensor, ...],
    *, needs: tuple[bool, ...], tuning: dict[str, int],
) -> tuple[torch.Tensor | None, ...]:
    """Gradients by q, k, v, i, f, C, n and m from those by the output (B, T, H, V) and the final state."""
    q, k, v, i, f, exact, weights, m, states, n_states, m_states, final, n_final = residuals
    (B, T, H, K), V = q.shape, v.shape[-1]
    chunk, num_warps, num_stages = tuning["CHUNK"], tuning["num_warps"], tuning["num_stages"]
    chunks = triton.cdiv(T, chunk)
    block_k = max(16, triton.next_power_of_2(K))
    block_v = min(32, max(16, triton.next_power_of_2(V)))  # half of forward's, for the registers
    d_output = d_output.contiguous()
    d_final, d_n_final, d_m_final = d_state[0].contiguous(), d_state[1].contiguous(), d_state[2].contiguous()
    d_weights, paths = torch.empty_like(m), torch.empty_like(m_states)
    d_states, d_n_states = torch.empty_like(states), torch.empty_like(n_states)
    d_initial, d_n_initial = torch.empty_like(d_final), torch.empty_like(d_n_final)
    d_highest, d_m_initial = torch.empty_like(d_m_final), torch.empty_like(d_m_final)
    _weight_grad_kernel[(triton.cdiv(B * T * H, 32),)](
        exact, d_output, weights, m, d_weights, B * T * H,
        V=V, ROWS=32, BLOCK_V=max(16, triton.next_power_of_2(V)), num_warps=4,
    )
    _state_grad_kernel[(B * H, triton.cdiv(V, block_v))](
        q, i, f, d_output, weights, m, d_weights, m_states, d_final, d_n_final, d_states, d_n_states, paths,
        d_initial, d_n_initial, K**-0.5, T, H,
        K=K, V=V, CHUNK=chunk, BLOCK_K=block_k, BLOCK_V=block_v, num_warps=num_warps, num_stages=num_stages,
    )
    _m_grad_kernel[(B * H,)](
        final, n_final, d_final, d_n_final, d_m_final, states, n_states, d_initial, d_n_initial, paths,
        d_highest, d_m_initial, chunks, K=K, V=V, BLOCK_K=block_k, BLOCK_V=block_v, num_warps=4,
    )
    if not any(needs[:-3]):
        return None, None, None, None, None, d_initial, d_n_initial, d_m_initial
    d_q, d_k, d_v = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
    d_i, d_f = torch.empty_like(i), torch.empty_like(f)
    _input_grad_kernel[(B * H * chunks,)](
        q, k, v, i, f, d_output, weights, m, d_weights, states, n_states, m_states, d_states, d_n_states,
        paths, d_highest, d_q, d_k, d_v, d_i, d_f, K**-0.5, T, H,
        K=K, V=V, CHUNK=chunk, BLOCK_K=block_k, BLOCK_V=block_v, num_warps=num_warps, num_stages=num_stages,
    )
    return d_q, d_k, d_v, d_i, d_f, d_initial, d_n_initial, d_m_initial
