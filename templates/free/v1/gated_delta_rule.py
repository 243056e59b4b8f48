"""The delta rule on a state that fades by a gate of its own at every token.

    e_t = v_t - exp(g_t) S_{t-1}^T k_t,    S_t = exp(g_t) S_{t-1} + b_t k_t e_t^T,    o_t = K^-1/2 S_t^T q_t

Cost: O(T K V) time in chunks of matrix products, one triangular solve a chunk, O(K V) state per head.
Source: Yang et al. 2024, "Gated Delta Networks: Improving Mamba2 with Delta Rule" (arXiv:2412.06464),
section 3; the stable segment sum of gates: Dao and Gu 2024, "Transformers are SSMs" (arXiv:2405.21060).
"""

import torch
import triton
import triton.language as tl

SPEC = {
    "contract": 1,
    "template": "free",
    "causal": True,
    "inputs": {
        "q": "B T H K", "k": "B T H K : unit_norm", "v": "B T H V",
        "b": "B T H : unit_interval, float32", "g": "B T H : log_decay, float32",
    },
    "params": {},
    "dims": {},
    "constants": {},
    "output": "B T H V",
    "state": {"S": "B H K V : normal, float32"},
}
TUNING = [
    {"CHUNK": 32, "num_warps": 4, "num_stages": 2},
    {"CHUNK": 64, "num_warps": 8, "num_stages": 1},
    {"CHUNK": 16, "num_warps": 4, "num_stages": 2},
]


def reference(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, b: torch.Tensor, g: torch.Tensor,
    *, state: tuple[torch.Tensor, ...],
) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    """The definition, one token at a time.

    q (B, T, H, K), k (B, T, H, K) of length one, v (B, T, H, V), b (B, T, H) in [0, 1], g (B, T, H)
    natural-log decay <= 0, state (S,) with S (B, H, K, V). Returns the output (B, T, H, V) and the final S.
    """
    (S,) = state
    queries, keys = (q * q.shape[-1] ** -0.5)[..., None].unbind(1), k[..., None].unbind(1)  # (B, H, K, 1)
    values, rates = v[:, :, :, None].unbind(1), b[:, :, :, None, None].unbind(1)  # (B, H, 1, V), (B, H, 1, 1)
    decays = torch.exp(g)[:, :, :, None, None].unbind(1)
    outputs = []
    for q_t, k_t, v_t, b_t, decay in zip(queries, keys, values, rates, decays, strict=True):
        S = decay * S
        error = v_t - (k_t * S).sum(2, keepdim=True)
        S = S + k_t * (b_t * error)
        outputs.append((q_t * S).sum(2))
    return torch.stack(outputs, dim=1), (S,)


def _span(K: int, chunk: int) -> int:
    """Tokens of a chunk: `chunk`, a power of two, halved until it is at most K.

    More tokens could replace most of the state they start from. What a chunk computes is a sum of that state
    and of its own writes, so its rounding errors have the size of what was replaced, not of what is left.
    """
    while chunk > K:
        chunk = chunk // 2
    return chunk


def _unit_inverse_torch(lower: torch.Tensor) -> torch.Tensor:
    """(I + lower)^-1 of strictly lower triangular (..., C, C), as `_unit_inverse` does it."""
    size = lower.shape[-1]
    place = torch.arange(size, device=lower.device)
    inverse = torch.eye(size, dtype=lower.dtype, device=lower.device).expand(lower.shape)
    half = 1
    while half < size:
        block = place // half
        joined = (block[:, None] // 2 == block[None, :] // 2) & (block[:, None] > block[None, :])
        inverse = inverse - inverse @ torch.where(joined, lower, 0.0) @ inverse
        half = half * 2
    return inverse


def parallel(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, b: torch.Tensor, g: torch.Tensor,
    *, state: tuple[torch.Tensor, ...],
) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    """`reference` in chunks of up to 32 tokens: a triangular solve in each, recurrent between them."""
    (S,) = state
    queries = (q.to(S.dtype) * q.shape[-1] ** -0.5).transpose(1, 2)
    keys, values = k.to(S.dtype).transpose(1, 2), v.to(S.dtype).transpose(1, 2)
    rates, gates = b.transpose(1, 2)[..., None], g.transpose(1, 2)[..., None]  # (B, H, T, 1)
    span = _span(q.shape[-1], 32)
    outputs = []
    for start in range(0, q.shape[1], span):
        chunk = slice(start, start + span)
        q_c, k_c, v_c, b_c = queries[:, :, chunk], keys[:, :, chunk], values[:, :, chunk], rates[:, :, chunk]
        seen = torch.ones(q_c.shape[2], q_c.shape[2], dtype=torch.bool, device=q.device).tril()
        spans = torch.where(seen.tril(-1), gates[:, :, chunk], 0.0).cumsum(2)  # g over j < s <= i
        decay = torch.where(seen, torch.exp(spans), 0.0)
        start_decay = torch.exp(gates[:, :, chunk].cumsum(2))
        lower = torch.tril((k_c @ k_c.mT) * decay, -1) * b_c.mT
        writes = b_c * (_unit_inverse_torch(lower) @ (v_c - start_decay * (k_c @ S)))
        outputs.append(start_decay * (q_c @ S) + ((q_c @ k_c.mT) * decay) @ writes)
        S = start_decay[:, :, -1:] * S + k_c.mT @ (decay[:, :, -1, :, None] * writes)
    return torch.cat(outputs, dim=2).transpose(1, 2).to(v.dtype), (S,)


@triton.jit
def _place(i_bh, i_c, T, H, span):
    """The first row of a chunk in (B, T, H), and how many tokens it has."""
    return ((i_bh // H) * T + i_c * span) * H + i_bh % H, tl.minimum(T - i_c * span, span)


@triton.jit
def _tile(row_stride, row_count, first_column, column_count, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Offsets and mask of a (ROWS, COLUMNS) tile, from the address of its first row."""
    rows = tl.arange(0, ROWS)[:, None]
    columns = first_column + tl.arange(0, COLUMNS)[None, :]
    return rows * row_stride + columns, (rows < row_count) & (columns < column_count)


@triton.jit
def _load_scalars(ptr, H, count, CHUNK: tl.constexpr):
    """The rates b or log decays g (CHUNK,) of a chunk; rows past the end neither write nor decay."""
    rows = tl.arange(0, CHUNK)
    return tl.load(ptr + rows * H, mask=rows < count, other=0.0)


@triton.jit
def _earlier(products, CHUNK: tl.constexpr):
    """The entries (i, j) with j < i, else 0: what a token meets of the tokens before it."""
    i = tl.arange(0, CHUNK)[:, None]
    j = tl.arange(0, CHUNK)[None, :]
    return tl.where(i > j, products, 0.0)


@triton.jit
def _decay_from_start(gates):
    """exp(g_0 + ... + g_i): what token i still sees of the state before the chunk."""
    return tl.exp(tl.cumsum(gates, 0))


@triton.jit
def _decay_to_end(g_ptr, H, count, CHUNK: tl.constexpr):
    """exp(g_{j+1} + ... + g_last): what the chunk's end still sees of token j; the gates are a row later."""
    later = tl.arange(0, CHUNK) + 1
    gates = tl.load(g_ptr + later * H, mask=later < count, other=0.0)
    return tl.exp(tl.cumsum(gates, 0, reverse=True))


@triton.jit
def _decay_within(gates, CHUNK: tl.constexpr):
    """exp(g_{j+1} + ... + g_i) for j <= i, else 0: (CHUNK, CHUNK); each segment is summed by itself."""
    i = tl.arange(0, CHUNK)[:, None]
    j = tl.arange(0, CHUNK)[None, :]
    spans = tl.cumsum(tl.where(i > j, gates[:, None], 0.0), 0)
    return tl.where(i >= j, tl.exp(spans), 0.0)


@triton.jit
def _unit_inverse(lower, CHUNK: tl.constexpr):
    """(I + lower)^-1 of a strictly lower triangular float32 tile (CHUNK, CHUNK), a power of two.

    Blocks on the diagonal, inverted, are joined to blocks of twice the size, with
    [[A, 0], [L, D]]^-1 = [[A^-1, 0], [-D^-1 L A^-1, D^-1]], from size one on, all pairs in two products.
    Every block is an inverse itself, so no entry outgrows the result, as powers of `lower` would.
    """
    i = tl.arange(0, CHUNK)[:, None]
    j = tl.arange(0, CHUNK)[None, :]
    inverse = tl.where(i == j, 1.0, 0.0)
    level = 0
    while (1 << level) < CHUNK:
        joined = tl.where((i >> level) ^ (j >> level) == 1, lower, 0.0)
        left = tl.dot(inverse, joined, input_precision="ieee")
        inverse -= tl.dot(left, inverse, input_precision="ieee")
        level += 1
    return inverse


@triton.jit
def _solve_kernel(
    k_ptr,  # (B, T, H, K)
    v_ptr,  # (B, T, H, V)
    b_ptr, g_ptr,  # (B, T, H)
    inverse_ptr,  # (B, H, chunks, CHUNK, CHUNK), out: X = (I + L)^-1, L_ij = D_ij (k_i . k_j) b_j, j < i
    reached_ptr,  # (B, T, H, K), out: X decayed k, by which the state before the chunk enters its errors
    alone_ptr,  # (B, T, H, V), out: X v, the errors after a state of zero
    T, H, span,
    K: tl.constexpr, V: tl.constexpr, CHUNK: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_V: tl.constexpr,
):
    """Grid (B * H * chunks,): the triangular systems of all chunks, which no state is needed for."""
    i_bhc = tl.program_id(0).to(tl.int64)
    chunks = tl.cdiv(T, span)
    row, count = _place(i_bhc // chunks, i_bhc % chunks, T, H, span)
    k_offsets, k_mask = _tile(H * K, count, 0, K, CHUNK, BLOCK_K)
    k = tl.load(k_ptr + row * K + k_offsets, mask=k_mask, other=0.0)
    rates = _load_scalars(b_ptr + row, H, count, CHUNK)
    gates = _load_scalars(g_ptr + row, H, count, CHUNK)
    products = tl.dot(k, tl.trans(k), input_precision="ieee") * _decay_within(gates, CHUNK)
    inverse = _unit_inverse(_earlier(products, CHUNK) * rates[None, :], CHUNK)
    x_offsets, x_mask = _tile(CHUNK, CHUNK, 0, CHUNK, CHUNK, CHUNK)
    tl.store(inverse_ptr + i_bhc * CHUNK * CHUNK + x_offsets, inverse, mask=x_mask)
    faded = (inverse * _decay_from_start(gates)[None, :]).to(k.dtype)
    reached = tl.dot(faded, k, input_precision="ieee")
    tl.store(reached_ptr + row * K + k_offsets, reached.to(k.dtype), mask=k_mask)
    for first_v in range(0, V, BLOCK_V):
        v_offsets, v_mask = _tile(H * V, count, first_v, V, CHUNK, BLOCK_V)
        v = tl.load(v_ptr + row * V + v_offsets, mask=v_mask, other=0.0)
        alone = tl.dot(inverse.to(v.dtype), v, input_precision="ieee")
        tl.store(alone_ptr + row * V + v_offsets, alone, mask=v_mask)


@triton.jit
def _state_kernel(
    k_ptr, reached_ptr,  # (B, T, H, K)
    b_ptr, g_ptr,  # (B, T, H)
    alone_ptr,  # (B, T, H, V)
    initial_ptr,  # (B, H, K, V)
    states_ptr,  # (B, H, chunks, K, V), out: the state before each chunk
    errors_ptr,  # (B, T, H, V), out: e
    final_ptr,  # (B, H, K, V), out
    T, H, span,
    K: tl.constexpr, V: tl.constexpr, CHUNK: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_V: tl.constexpr,
):
    """Grid (B * H, V tiles): one program carries (K, BLOCK_V) of one head's state through all chunks."""
    i_bh = tl.program_id(0).to(tl.int64)
    first_v = tl.program_id(1) * BLOCK_V
    chunks = tl.cdiv(T, span)
    s_offsets, s_mask = _tile(V, K, first_v, V, BLOCK_K, BLOCK_V)
    state = tl.load(initial_ptr + i_bh * K * V + s_offsets, mask=s_mask, other=0.0)
    for i_c in range(0, chunks):
        tl.store(states_ptr + (i_bh * chunks + i_c) * K * V + s_offsets, state, mask=s_mask)
        row, count = _place(i_bh, i_c, T, H, span)
        k_offsets, k_mask = _tile(H * K, count, 0, K, CHUNK, BLOCK_K)
        v_offsets, v_mask = _tile(H * V, count, first_v, V, CHUNK, BLOCK_V)
        reached = tl.load(reached_ptr + row * K + k_offsets, mask=k_mask, other=0.0)
        k = tl.load(k_ptr + row * K + k_offsets, mask=k_mask, other=0.0)
        alone = tl.load(alone_ptr + row * V + v_offsets, mask=v_mask, other=0.0)
        rates = _load_scalars(b_ptr + row, H, count, CHUNK)
        errors = alone - tl.dot(reached, state.to(k.dtype), input_precision="ieee")
        tl.store(errors_ptr + row * V + v_offsets, errors.to(k.dtype), mask=v_mask)
        gates = _load_scalars(g_ptr + row, H, count, CHUNK)
        kept = rates * _decay_to_end(g_ptr + row, H, count, CHUNK)
        writes = (errors * kept[:, None]).to(k.dtype)
        state = tl.dot(tl.trans(k), writes, state * tl.exp(tl.sum(gates, 0)), input_precision="ieee")
    tl.store(final_ptr + i_bh * K * V + s_offsets, state, mask=s_mask)


@triton.jit
def _output_kernel(
    q_ptr, k_ptr,  # (B, T, H, K)
    b_ptr, g_ptr,  # (B, T, H)
    errors_ptr,  # (B, T, H, V)
    states_ptr,  # (B, H, chunks, K, V)
    o_ptr,  # (B, T, H, V), out
    scale, T, H, span,
    K: tl.constexpr, V: tl.constexpr, CHUNK: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_V: tl.constexpr,
):
    """Grid (B * H * chunks, V tiles): outputs of a chunk, from the state before it and its own writes."""
    i_bhc = tl.program_id(0).to(tl.int64)
    first_v = tl.program_id(1) * BLOCK_V
    chunks = tl.cdiv(T, span)
    row, count = _place(i_bhc // chunks, i_bhc % chunks, T, H, span)
    k_offsets, k_mask = _tile(H * K, count, 0, K, CHUNK, BLOCK_K)
    v_offsets, v_mask = _tile(H * V, count, first_v, V, CHUNK, BLOCK_V)
    s_offsets, s_mask = _tile(V, K, first_v, V, BLOCK_K, BLOCK_V)
    errors = tl.load(errors_ptr + row * V + v_offsets, mask=v_mask, other=0.0)
    q = tl.load(q_ptr + row * K + k_offsets, mask=k_mask, other=0.0)
    k = tl.load(k_ptr + row * K + k_offsets, mask=k_mask, other=0.0)
    state = tl.load(states_ptr + i_bhc * K * V + s_offsets, mask=s_mask, other=0.0)
    rates = _load_scalars(b_ptr + row, H, count, CHUNK)
    gates = _load_scalars(g_ptr + row, H, count, CHUNK)
    # Rates and decays multiply the float32 scores, not the errors, which were rounded once already.
    scores = tl.dot(q, tl.trans(k), input_precision="ieee") * _decay_within(gates, CHUNK) * rates[None, :]
    output = tl.dot(q, state.to(q.dtype), input_precision="ieee") * _decay_from_start(gates)[:, None]
    output = tl.dot(scores.to(q.dtype), errors, output, input_precision="ieee")
    tl.store(o_ptr + row * V + v_offsets, (output * scale).to(q.dtype), mask=v_mask)


@triton.jit
def _local_grad_kernel(
    q_ptr, k_ptr,  # (B, T, H, K)
    b_ptr, g_ptr,  # (B, T, H)
    inverse_ptr,  # (B, H, chunks, CHUNK, CHUNK)
    d_o_ptr,  # (B, T, H, V)
    returned_ptr,  # (B, T, H, K), out: X^T decayed b k, by which the gradient by the state enters that by v
    local_ptr,  # (B, T, H, V), out: the gradient by v from the chunk's own outputs
    scale, T, H, span,
    K: tl.constexpr, V: tl.constexpr, CHUNK: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_V: tl.constexpr,
):
    """Grid (B * H * chunks,): the triangular systems backwards, before any gradient by a state is known."""
    i_bhc = tl.program_id(0).to(tl.int64)
    chunks = tl.cdiv(T, span)
    row, count = _place(i_bhc // chunks, i_bhc % chunks, T, H, span)
    k_offsets, k_mask = _tile(H * K, count, 0, K, CHUNK, BLOCK_K)
    x_offsets, x_mask = _tile(CHUNK, CHUNK, 0, CHUNK, CHUNK, CHUNK)
    q = tl.load(q_ptr + row * K + k_offsets, mask=k_mask, other=0.0)
    k = tl.load(k_ptr + row * K + k_offsets, mask=k_mask, other=0.0)
    rates = _load_scalars(b_ptr + row, H, count, CHUNK)
    inverse = tl.load(inverse_ptr + i_bhc * CHUNK * CHUNK + x_offsets, mask=x_mask, other=0.0)
    answers = inverse * rates[:, None]  # what is written for the values of the chunk
    kept = answers * _decay_to_end(g_ptr + row, H, count, CHUNK)[:, None]
    returned = tl.dot(tl.trans(kept.to(k.dtype)), k, input_precision="ieee")
    tl.store(returned_ptr + row * K + k_offsets, returned.to(k.dtype), mask=k_mask)
    within = _decay_within(_load_scalars(g_ptr + row, H, count, CHUNK), CHUNK)
    scores = tl.dot(q, tl.trans(k), input_precision="ieee") * within * scale
    paths = tl.trans(tl.dot(scores, answers, input_precision="ieee")).to(k.dtype)  # (writer, reader)
    for first_v in range(0, V, BLOCK_V):
        v_offsets, v_mask = _tile(H * V, count, first_v, V, CHUNK, BLOCK_V)
        d_o = tl.load(d_o_ptr + row * V + v_offsets, mask=v_mask, other=0.0)
        tl.store(local_ptr + row * V + v_offsets, tl.dot(paths, d_o, input_precision="ieee"), mask=v_mask)


@triton.jit
def _state_grad_kernel(
    q_ptr, k_ptr, returned_ptr,  # (B, T, H, K)
    g_ptr,  # (B, T, H)
    local_ptr, d_o_ptr,  # (B, T, H, V)
    d_final_ptr,  # (B, H, K, V)
    d_states_ptr,  # (B, H, chunks, K, V), out: gradient by the state after each chunk
    d_v_ptr,  # (B, T, H, V), out
    d_initial_ptr,  # (B, H, K, V), out
    scale, T, H, span,
    K: tl.constexpr, V: tl.constexpr, CHUNK: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_V: tl.constexpr,
):
    """Grid (B * H, V tiles): `_state_kernel` backwards, from the last chunk to the first."""
    i_bh = tl.program_id(0).to(tl.int64)
    first_v = tl.program_id(1) * BLOCK_V
    chunks = tl.cdiv(T, span)
    s_offsets, s_mask = _tile(V, K, first_v, V, BLOCK_K, BLOCK_V)
    d_state = tl.load(d_final_ptr + i_bh * K * V + s_offsets, mask=s_mask, other=0.0)
    for step in range(0, chunks):
        i_c = chunks - 1 - step
        tl.store(d_states_ptr + (i_bh * chunks + i_c) * K * V + s_offsets, d_state, mask=s_mask)
        row, count = _place(i_bh, i_c, T, H, span)
        k_offsets, k_mask = _tile(H * K, count, 0, K, CHUNK, BLOCK_K)
        v_offsets, v_mask = _tile(H * V, count, first_v, V, CHUNK, BLOCK_V)
        returned = tl.load(returned_ptr + row * K + k_offsets, mask=k_mask, other=0.0)
        q = tl.load(q_ptr + row * K + k_offsets, mask=k_mask, other=0.0)
        k = tl.load(k_ptr + row * K + k_offsets, mask=k_mask, other=0.0)
        local = tl.load(local_ptr + row * V + v_offsets, mask=v_mask, other=0.0)
        d_o = tl.load(d_o_ptr + row * V + v_offsets, mask=v_mask, other=0.0)
        d_v = tl.dot(returned, d_state.to(q.dtype), local, input_precision="ieee")
        tl.store(d_v_ptr + row * V + v_offsets, d_v.to(q.dtype), mask=v_mask)
        gates = _load_scalars(g_ptr + row, H, count, CHUNK)
        from_start = _decay_from_start(gates)
        read = (d_o.to(tl.float32) * scale * from_start[:, None]).to(q.dtype)
        taken = (d_v * from_start[:, None]).to(q.dtype)
        d_state = tl.dot(tl.trans(q), read, d_state * tl.exp(tl.sum(gates, 0)), input_precision="ieee")
        d_state -= tl.dot(tl.trans(k), taken, input_precision="ieee")
    tl.store(d_initial_ptr + i_bh * K * V + s_offsets, d_state, mask=s_mask)


@triton.jit
def _input_grad_kernel(
    q_ptr, k_ptr,  # (B, T, H, K)
    b_ptr, g_ptr,  # (B, T, H)
    errors_ptr, d_o_ptr, d_v_ptr,  # (B, T, H, V)
    states_ptr,  # (B, H, chunks, K, V): the state before each chunk
    d_states_ptr,  # (B, H, chunks, K, V): gradient by the state after each chunk
    d_q_ptr, d_k_ptr,  # (B, T, H, K), out
    d_b_ptr, d_g_ptr,  # (B, T, H), out
    scale, T, H, span,
    K: tl.constexpr, V: tl.constexpr, CHUNK: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_V: tl.constexpr,
):
    """Grid (B * H * chunks,): the gradients by q, k, b and g of one chunk's tokens."""
    i_bhc = tl.program_id(0).to(tl.int64)
    chunks = tl.cdiv(T, span)
    row, count = _place(i_bhc // chunks, i_bhc % chunks, T, H, span)
    k_offsets, k_mask = _tile(H * K, count, 0, K, CHUNK, BLOCK_K)
    q = tl.load(q_ptr + row * K + k_offsets, mask=k_mask, other=0.0)
    k = tl.load(k_ptr + row * K + k_offsets, mask=k_mask, other=0.0)
    rates = _load_scalars(b_ptr + row, H, count, CHUNK)

    gates = _load_scalars(g_ptr + row, H, count, CHUNK)
    from_start = _decay_from_start(gates)
    within = _decay_within(gates, CHUNK)

    # What came with the state first, what leaves with it in a second pass over V: few tiles alive at a time.
    reads = tl.zeros((CHUNK, CHUNK), tl.float32)  # (reader, writer): do . e
    corrections = tl.zeros((CHUNK, CHUNK), tl.float32)  # (later token, writer): dv . e
    d_q = tl.zeros((CHUNK, BLOCK_K), tl.float32)
    d_k = tl.zeros((CHUNK, BLOCK_K), tl.float32)
    for first_v in range(0, V, BLOCK_V):
        v_offsets, v_mask = _tile(H * V, count, first_v, V, CHUNK, BLOCK_V)
        s_offsets, s_mask = _tile(V, K, first_v, V, BLOCK_K, BLOCK_V)
        errors = tl.load(errors_ptr + row * V + v_offsets, mask=v_mask, other=0.0)
        d_o = tl.load(d_o_ptr + row * V + v_offsets, mask=v_mask, other=0.0)
        d_v = tl.load(d_v_ptr + row * V + v_offsets, mask=v_mask, other=0.0)
        state = tl.load(states_ptr + i_bhc * K * V + s_offsets, mask=s_mask, other=0.0).to(k.dtype)
        reads = tl.dot(d_o, tl.trans(errors), reads, input_precision="ieee")
        corrections = tl.dot(d_v, tl.trans(errors), corrections, input_precision="ieee")
        d_q = tl.dot(d_o, tl.trans(state), d_q, input_precision="ieee")
        d_k = tl.dot(d_v, tl.trans(state), d_k, input_precision="ieee")
    d_q *= (scale * from_start)[:, None]
    d_k *= -from_start[:, None]
    arriving = tl.sum(q.to(tl.float32) * d_q + k.to(tl.float32) * d_k, 1)  # (i,): from before the chunk
    reads *= within * scale
    corrections = _earlier(corrections, CHUNK) * within
    # What an error sends on inside the chunk before its rate multiplies it, so that it also makes d_b.
    sent = reads * tl.dot(q, tl.trans(k), input_precision="ieee")
    sent -= corrections * tl.dot(k, tl.trans(k), input_precision="ieee")
    reads = (reads * rates[None, :]).to(k.dtype)
    corrections = (corrections * rates[None, :]).to(k.dtype)
    d_q = tl.dot(reads, k, d_q, input_precision="ieee")
    tl.store(d_q_ptr + row * K + k_offsets, d_q.to(q.dtype), mask=k_mask)
    d_k = tl.dot(tl.trans(reads), q, d_k, input_precision="ieee")
    d_k -= tl.dot(corrections + tl.trans(corrections), k, input_precision="ieee")  # both keys of a product

    written = tl.zeros((CHUNK, BLOCK_K), tl.float32)
    passing = tl.zeros((BLOCK_K,), tl.float32)  # <S, dS>, for what crosses the whole chunk
    for first_v in range(0, V, BLOCK_V):
        v_offsets, v_mask = _tile(H * V, count, first_v, V, CHUNK, BLOCK_V)
        s_offsets, s_mask = _tile(V, K, first_v, V, BLOCK_K, BLOCK_V)
        errors = tl.load(errors_ptr + row * V + v_offsets, mask=v_mask, other=0.0)
        state = tl.load(states_ptr + i_bhc * K * V + s_offsets, mask=s_mask, other=0.0)
        d_state = tl.load(d_states_ptr + i_bhc * K * V + s_offsets, mask=s_mask, other=0.0)
        passing += tl.sum(state * d_state, 1)
        written = tl.dot(errors, tl.trans(d_state.to(k.dtype)), written, input_precision="ieee")
    written *= _decay_to_end(g_ptr + row, H, count, CHUNK)[:, None]
    d_k += written * rates[:, None]
    tl.store(d_k_ptr + row * K + k_offsets, d_k.to(k.dtype), mask=k_mask)
    leaving = tl.sum(k.to(tl.float32) * written, 1)  # (j,)
    i = tl.arange(0, CHUNK)
    tl.store(d_b_ptr + row + i * H, leaving + tl.sum(sent, 0), mask=i < count)
    inner = tl.cumsum(sent * rates[None, :], 0, reverse=True) + (leaving * rates)[None, :]
    d_g = tl.sum(_earlier(inner, CHUNK), 1) + tl.cumsum(arriving, 0, reverse=True)
    d_g += tl.exp(tl.sum(gates, 0)) * tl.sum(passing, 0)
    tl.store(d_g_ptr + row + i * H, d_g, mask=i < count)


def forward(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, b: torch.Tensor, g: torch.Tensor,
    *, state: tuple[torch.Tensor, ...], tuning: dict[str, int],
) -> tuple[torch.Tensor, tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]:
    """Output (B, T, H, V), final state (S,) and the residuals of `backward`; arguments as in `reference`."""
    B, T, H, K = q.shape
    V = v.shape[-1]
    span, warps, stages = _span(K, tuning["CHUNK"]), tuning["num_warps"], tuning["num_stages"]
    chunk, chunks = max(16, span), triton.cdiv(T, span)
    block_k = max(16, triton.next_power_of_2(K))
    block_v = min(64, max(16, triton.next_power_of_2(V)))
    v_tiles = triton.cdiv(V, block_v)
    q, k, v, b, g = q.contiguous(), k.contiguous(), v.contiguous(), b.contiguous(), g.contiguous()
    initial = state[0].contiguous()
    inverse = torch.empty((B, H, chunks, chunk, chunk), dtype=torch.float32, device=q.device)
    reached = torch.empty_like(k)
    alone = torch.empty((B, T, H, V), dtype=torch.float32, device=q.device)
    states = torch.empty((B, H, chunks, K, V), dtype=torch.float32, device=q.device)
    errors = torch.empty_like(v)
    final = torch.empty((B, H, K, V), dtype=torch.float32, device=q.device)
    output = torch.empty_like(v)
    _solve_kernel[(B * H * chunks,)](
        k, v, b, g, inverse, reached, alone, T, H, span,
        K=K, V=V, CHUNK=chunk, BLOCK_K=block_k, BLOCK_V=block_v, num_warps=warps, num_stages=stages,
    )
    _state_kernel[(B * H, v_tiles)](
        k, reached, b, g, alone, initial, states, errors, final, T, H, span,
        K=K, V=V, CHUNK=chunk, BLOCK_K=block_k, BLOCK_V=block_v, num_warps=warps, num_stages=stages,
    )
    _output_kernel[(B * H * chunks, v_tiles)](
        q, k, b, g, errors, states, output, K**-0.5, T, H, span,
        K=K, V=V, CHUNK=chunk, BLOCK_K=block_k, BLOCK_V=block_v, num_warps=warps, num_stages=stages,
    )
    return output, (final,), (q, k, b, g, inverse, errors, states)


def backward(
    residuals: tuple[torch.Tensor, ...], d_output: torch.Tensor, d_state: tuple[torch.Tensor, ...],
    *, needs: tuple[bool, ...], tuning: dict[str, int],
) -> tuple[torch.Tensor | None, ...]:
    """Gradients by q, k, v, b, g and S from those by the output (B, T, H, V) and the final state."""
    q, k, b, g, inverse, errors, states = residuals
    B, T, H, K = q.shape
    V = errors.shape[-1]
    span, warps, stages = _span(K, tuning["CHUNK"]), tuning["num_warps"], tuning["num_stages"]
    chunk, chunks = max(16, span), triton.cdiv(T, span)
    block_k = max(16, triton.next_power_of_2(K))
    block_v = min(32, max(16, triton.next_power_of_2(V)))  # half of forward's, for the registers
    d_output, d_final = d_output.contiguous(), d_state[0].contiguous()
    returned = torch.empty_like(k)
    local = torch.empty((B, T, H, V), dtype=torch.float32, device=q.device)
    d_states = torch.empty_like(states)
    d_v = torch.empty_like(errors)
    d_initial = torch.empty_like(d_final)
    _local_grad_kernel[(B * H * chunks,)](
        q, k, b, g, inverse, d_output, returned, local, K**-0.5, T, H, span,
        K=K, V=V, CHUNK=chunk, BLOCK_K=block_k, BLOCK_V=block_v, num_warps=warps, num_stages=stages,
    )
    _state_grad_kernel[(B * H, triton.cdiv(V, block_v))](
        q, k, returned, g, local, d_output, d_final, d_states, d_v, d_initial, K**-0.5, T, H, span,
        K=K, V=V, CHUNK=chunk, BLOCK_K=block_k, BLOCK_V=block_v, num_warps=warps, num_stages=stages,
    )
    if not any((*needs[:2], *needs[3:5])):
        return None, None, d_v, None, None, d_initial
    d_q, d_k, d_b, d_g = torch.empty_like(q), torch.empty_like(k), torch.empty_like(b), torch.empty_like(g)
    _input_grad_kernel[(B * H * chunks,)](
        q, k, b, g, errors, d_output, d_v, states, d_states, d_q, d_k, d_b, d_g, K**-0.5, T, H, span,
        K=K, V=V, CHUNK=chunk, BLOCK_K=block_k, BLOCK_V=block_v, num_warps=warps, num_stages=stages,
    )
    return d_q, d_k, d_v, d_b, d_g, d_initial
