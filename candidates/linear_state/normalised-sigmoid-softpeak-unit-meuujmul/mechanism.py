"""Linear attention whose weights sum to one: the output is an average of the values seen so far.

    S_t = S_{t-1} + f(k_t) v_t^T,    z_t = z_{t-1} + f(k_t),    f(k) = key_norm(phi(k)),
    o_t = scale * phi(q_t)^T S_t / (phi(q_t)^T z_t + eps)

Cost: O(T K V) time in chunks of matrix products, O(K V) state per head.
Source: Katharopoulos et al. 2020, "Transformers are RNNs: Fast Autoregressive Transformers with Linear
Attention" (arXiv:2006.16236).

In its slots:

    feature map: sigmoid(x) * (x + 2)
    key norm: x / (max(abs(x)) + 1)
    scale: 1
"""

import torch
import triton
import triton.language as tl

SPEC = {
    "contract": 1,
    "template": "linear_state/v1/normalised",
    "causal": True,
    "slots": {
        "feature_map": ["_phi_torch", "_phi", "_phi_grad"],
        "key_norm": ["_key_norm_torch", "_key_norm", "_key_norm_grad"],
        "scale": ["_scale"],
    },
    "inputs": {"q": "B T H K", "k": "B T H K", "v": "B T H V"},
    "params": {},
    "dims": {},
    "constants": {"eps": 1e-6},
    "output": "B T H V",
    "state": {"S": "B H K V : normal, float32", "z": "B H K : positive, float32"},
}
TUNING = [
    {"CHUNK": 32, "num_warps": 4, "num_stages": 2},
    {"CHUNK": 64, "num_warps": 8, "num_stages": 1},
    {"CHUNK": 16, "num_warps": 4, "num_stages": 2},
]


def _phi_torch(x: torch.Tensor) -> torch.Tensor:
    """Feature map phi, elementwise: sigmoid(x) * (x + 2)."""
    return torch.sigmoid(x) * (x + 2.0)


@triton.jit
def _phi(x):
    """phi on a float32 tile."""
    return tl.sigmoid(x) * (x + 2.0)


@triton.jit
def _phi_grad(x):
    """d phi / d x on a float32 tile."""
    a = tl.sigmoid(x)
    return a + tl.sigmoid(-x) * a * (x + 2.0)


def _key_norm_torch(x: torch.Tensor) -> torch.Tensor:
    """Normalisation of key features (..., K) over the last axis: x / (max(abs(x)) + 1)."""
    s = torch.amax(torch.abs(x), dim=-1, keepdim=True)
    return x * torch.reciprocal(s + 1.0)


@triton.jit
def _key_norm(x):
    """key_norm on a float32 tile (CHUNK, BLOCK_K): padding comes in as zero, and is ignored in the result."""
    s = tl.max(tl.abs(x), axis=1)[:, None]
    return x * (1.0 / (s + 1.0))


@triton.jit
def _key_norm_grad(x, dy):
    """Gradient of the loss by x, from that by y = key_norm(x); tiles and padding as in `_key_norm`."""
    a = tl.abs(x)
    s = tl.max(a, axis=1)[:, None]
    b = tl.sum(dy * x, axis=1)[:, None]
    c = s + 1.0
    d = 1.0 / c
    e = tl.where(a == s, 1.0, 0.0)
    return dy * d + b * (-(d * d)) * (e / tl.sum(e, axis=1)[:, None]) * tl.where(x > 0.0, 1.0, tl.where(x < 0.0, -1.0, 0.0))


def _scale(K: int) -> float:
    """Factor of the output for keys of size K: 1."""
    return 1.0


def reference(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *, state: tuple[torch.Tensor, ...], eps: float
) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    """The definition, one token at a time.

    q, k (B, T, H, K), v (B, T, H, V), state (S, z) with S (B, H, K, V) and z (B, H, K).
    eps keeps the denominator from zero where all features vanish.
    Returns the output (B, T, H, V) and the final state.
    """
    S, z = state
    queries = _phi_torch(q)
    keys = _key_norm_torch(_phi_torch(k))
    outputs = []
    for t in range(q.shape[1]):
        S = S + keys[:, t, :, :, None] * v[:, t, :, None, :]
        z = z + keys[:, t]
        numerator = torch.einsum("bhk,bhkv->bhv", queries[:, t], S)
        denominator = torch.einsum("bhk,bhk->bh", queries[:, t], z) + eps
        outputs.append(_scale(q.shape[-1]) * numerator / denominator[..., None])
    return torch.stack(outputs, dim=1), (S, z)


def parallel(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *, state: tuple[torch.Tensor, ...], eps: float
) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    """`reference` in chunks of 64 tokens: quadratic inside a chunk, recurrent between chunks."""
    S, z = state
    queries = _phi_torch(q.to(S.dtype))
    keys = _key_norm_torch(_phi_torch(k.to(S.dtype)))
    values = v.to(S.dtype)
    outputs = []
    for start in range(0, q.shape[1], 64):
        chunk = slice(start, start + 64)
        q_c, k_c, v_c = queries[:, chunk], keys[:, chunk], values[:, chunk]
        seen = torch.ones(q_c.shape[1], q_c.shape[1], dtype=torch.bool, device=q.device).tril()
        scores = torch.where(seen, torch.einsum("bihk,bjhk->bhij", q_c, k_c), 0.0)
        within = torch.einsum("bhij,bjhv->bihv", scores, v_c)
        numerator = within + torch.einsum("bihk,bhkv->bihv", q_c, S)
        denominator = scores.sum(3).transpose(1, 2) + torch.einsum("bihk,bhk->bih", q_c, z) + eps
        outputs.append(_scale(q.shape[-1]) * numerator / denominator[..., None])
        S = S + torch.einsum("bjhk,bjhv->bhkv", k_c, v_c)
        z = z + k_c.sum(1)
    return torch.cat(outputs, dim=1).to(v.dtype), (S, z)


@triton.jit
def _tile(row_stride, row_count, first_column, column_count, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Offsets and mask of a (ROWS, COLUMNS) tile, from the address of its first row."""
    rows = tl.arange(0, ROWS)[:, None]
    columns = first_column + tl.arange(0, COLUMNS)[None, :]
    return rows * row_stride + columns, (rows < row_count) & (columns < column_count)


@triton.jit
def _query_features(q, mask):
    """phi(q) in float32, zero in the padding, where phi itself need not be zero."""
    return tl.where(mask, _phi(q.to(tl.float32)), 0.0)


@triton.jit
def _query_features_grad(q, d_features):
    """Gradient by q from the one by its features."""
    return d_features * _phi_grad(q.to(tl.float32))


@triton.jit
def _key_features(k, mask):
    """f(k) = key_norm(phi(k)) in float32; zero in the padding before the norm and after it."""
    features = tl.where(mask, _phi(k.to(tl.float32)), 0.0)
    return tl.where(mask, _key_norm(features), 0.0)


@triton.jit
def _key_features_grad(k, mask, d_features):
    """Gradient by k from the one by f(k)."""
    features = tl.where(mask, _phi(k.to(tl.float32)), 0.0)
    d_phi = tl.where(mask, _key_norm_grad(features, tl.where(mask, d_features, 0.0)), 0.0)
    return d_phi * _phi_grad(k.to(tl.float32))


@triton.jit
def _causal(scores, CHUNK: tl.constexpr):
    """scores (CHUNK, CHUNK) of reader i and writer j, zero where j > i."""
    i = tl.arange(0, CHUNK)
    return tl.where(i[:, None] >= i[None, :], scores, 0.0)


@triton.jit
def _state_kernel(
    k_ptr,  # (B, T, H, K)
    v_ptr,  # (B, T, H, V)
    initial_ptr,  # (B, H, K, V)
    z_initial_ptr,  # (B, H, K)
    states_ptr,  # (B, H, chunks, K, V), out: the state before each chunk
    z_states_ptr,  # (B, H, chunks, K), out
    final_ptr,  # (B, H, K, V), out
    z_final_ptr,  # (B, H, K), out
    T,
    H,
    K: tl.constexpr,
    V: tl.constexpr,
    CHUNK: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_V: tl.constexpr,
):
    """Grid (B * H, V tiles): one program carries (K, BLOCK_V) of one head's state through all chunks.

    The programs of the first V tile also carry z.
    """
    i_bh = tl.program_id(0).to(tl.int64)
    first_v = tl.program_id(1) * BLOCK_V
    chunks = tl.cdiv(T, CHUNK)
    s_offsets, s_mask = _tile(V, K, first_v, V, BLOCK_K, BLOCK_V)
    z_offsets = tl.arange(0, BLOCK_K)
    z_mask = (z_offsets < K) & (first_v == 0)
    state = tl.load(initial_ptr + i_bh * K * V + s_offsets, mask=s_mask, other=0.0)
    z = tl.load(z_initial_ptr + i_bh * K + z_offsets, mask=z_mask, other=0.0)
    for i_c in range(0, chunks):
        tl.store(states_ptr + (i_bh * chunks + i_c) * K * V + s_offsets, state, mask=s_mask)
        tl.store(z_states_ptr + (i_bh * chunks + i_c) * K + z_offsets, z, mask=z_mask)
        row = ((i_bh // H) * T + i_c * CHUNK) * H + i_bh % H
        count = tl.minimum(T - i_c * CHUNK, CHUNK)
        k_offsets, k_mask = _tile(H * K, count, 0, K, CHUNK, BLOCK_K)
        v_offsets, v_mask = _tile(H * V, count, first_v, V, CHUNK, BLOCK_V)
        k = tl.load(k_ptr + row * K + k_offsets, mask=k_mask, other=0.0)
        v = tl.load(v_ptr + row * V + v_offsets, mask=v_mask, other=0.0)
        keys = _key_features(k, k_mask).to(v.dtype)
        state = tl.dot(tl.trans(keys), v, state, input_precision="ieee")
        z += tl.sum(keys.to(tl.float32), 0)
    tl.store(final_ptr + i_bh * K * V + s_offsets, state, mask=s_mask)
    tl.store(z_final_ptr + i_bh * K + z_offsets, z, mask=z_mask)


@triton.jit
def _output_kernel(
    q_ptr,  # (B, T, H, K)
    k_ptr,  # (B, T, H, K)
    v_ptr,  # (B, T, H, V)
    states_ptr,  # (B, H, chunks, K, V)
    z_states_ptr,  # (B, H, chunks, K)
    o_ptr,  # (B, T, H, V), out
    denominators_ptr,  # (B, T, H), out: the denominators
    scale,
    eps,
    T,
    H,
    K: tl.constexpr,
    V: tl.constexpr,
    CHUNK: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_V: tl.constexpr,
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
    q = tl.load(q_ptr + row * K + k_offsets, mask=k_mask, other=0.0)
    k = tl.load(k_ptr + row * K + k_offsets, mask=k_mask, other=0.0)
    v = tl.load(v_ptr + row * V + v_offsets, mask=v_mask, other=0.0)
    state = tl.load(states_ptr + i_bhc * K * V + s_offsets, mask=s_mask, other=0.0)
    columns = tl.arange(0, BLOCK_K)
    z = tl.load(z_states_ptr + i_bhc * K + columns, mask=columns < K, other=0.0)

    queries = _query_features(q, k_mask).to(v.dtype)
    keys = _key_features(k, k_mask).to(v.dtype)
    scores = _causal(tl.dot(queries, tl.trans(keys), input_precision="ieee"), CHUNK)
    output = tl.dot(queries, state.to(v.dtype), input_precision="ieee")
    output = tl.dot(scores.to(v.dtype), v, output, input_precision="ieee")
    # Both sums see the same rounded features, so that the weights of the values still sum to one.
    rows = tl.arange(0, CHUNK)
    denominators = tl.sum(scores, 1) + tl.sum(queries.to(tl.float32) * z[None, :], 1) + eps
    denominators = tl.where(rows < count, denominators, 1.0)
    tl.store(o_ptr + row * V + v_offsets, (output * (scale / denominators)[:, None]).to(v.dtype), mask=v_mask)
    tl.store(denominators_ptr + row + rows * H, denominators, mask=(rows < count) & (first_v == 0))


@triton.jit
def _denominator_grad_kernel(
    o_ptr,  # (B, T, H, V)
    d_o_ptr,  # (B, T, H, V)
    denominators_ptr,  # (B, T, H)
    d_denominators_ptr,  # (B, T, H), out
    count,
    V: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK_V: tl.constexpr,
):
    """Grid (B * T * H / ROWS,): -<o, d_o> / denominator, gradient by the denominators."""
    first = tl.program_id(0).to(tl.int64) * ROWS
    rows = tl.arange(0, ROWS)
    mask = rows < count - first
    offsets, v_mask = _tile(V, count - first, 0, V, ROWS, BLOCK_V)
    o = tl.load(o_ptr + first * V + offsets, mask=v_mask, other=0.0).to(tl.float32)
    d_o = tl.load(d_o_ptr + first * V + offsets, mask=v_mask, other=0.0).to(tl.float32)
    denominators = tl.load(denominators_ptr + first + rows, mask=mask, other=1.0)
    tl.store(d_denominators_ptr + first + rows, -tl.sum(o * d_o, 1) / denominators, mask=mask)


@triton.jit
def _state_grad_kernel(
    q_ptr,  # (B, T, H, K)
    d_o_ptr,  # (B, T, H, V)
    denominators_ptr,  # (B, T, H)
    d_denominators_ptr,  # (B, T, H)
    d_final_ptr,  # (B, H, K, V)
    d_z_final_ptr,  # (B, H, K)
    d_states_ptr,  # (B, H, chunks, K, V), out: gradient by the state after each chunk
    d_z_states_ptr,  # (B, H, chunks, K), out
    d_initial_ptr,  # (B, H, K, V), out
    d_z_initial_ptr,  # (B, H, K), out
    scale,
    T,
    H,
    K: tl.constexpr,
    V: tl.constexpr,
    CHUNK: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_V: tl.constexpr,
):
    """Grid (B * H, V tiles): `_state_kernel` backwards, from the last chunk to the first."""
    i_bh = tl.program_id(0).to(tl.int64)
    first_v = tl.program_id(1) * BLOCK_V
    chunks = tl.cdiv(T, CHUNK)
    s_offsets, s_mask = _tile(V, K, first_v, V, BLOCK_K, BLOCK_V)
    z_offsets = tl.arange(0, BLOCK_K)
    z_mask = (z_offsets < K) & (first_v == 0)
    rows = tl.arange(0, CHUNK)
    d_state = tl.load(d_final_ptr + i_bh * K * V + s_offsets, mask=s_mask, other=0.0)
    d_z = tl.load(d_z_final_ptr + i_bh * K + z_offsets, mask=z_mask, other=0.0)
    for step in range(0, chunks):
        i_c = chunks - 1 - step
        tl.store(d_states_ptr + (i_bh * chunks + i_c) * K * V + s_offsets, d_state, mask=s_mask)
        tl.store(d_z_states_ptr + (i_bh * chunks + i_c) * K + z_offsets, d_z, mask=z_mask)
        row = ((i_bh // H) * T + i_c * CHUNK) * H + i_bh % H
        count = tl.minimum(T - i_c * CHUNK, CHUNK)
        k_offsets, k_mask = _tile(H * K, count, 0, K, CHUNK, BLOCK_K)
        v_offsets, v_mask = _tile(H * V, count, first_v, V, CHUNK, BLOCK_V)
        q = tl.load(q_ptr + row * K + k_offsets, mask=k_mask, other=0.0)
        d_o = tl.load(d_o_ptr + row * V + v_offsets, mask=v_mask, other=0.0)
        denominators = tl.load(denominators_ptr + row + rows * H, mask=rows < count, other=1.0)
        d_denominators = tl.load(d_denominators_ptr + row + rows * H, mask=rows < count, other=0.0)
        queries = _query_features(q, k_mask)
        d_z += tl.sum(queries * d_denominators[:, None], 0)
        queries = (queries * (scale / denominators)[:, None]).to(d_o.dtype)
        d_state = tl.dot(tl.trans(queries), d_o, d_state, input_precision="ieee")
    tl.store(d_initial_ptr + i_bh * K * V + s_offsets, d_state, mask=s_mask)
    tl.store(d_z_initial_ptr + i_bh * K + z_offsets, d_z, mask=z_mask)


@triton.jit
def _input_grad_kernel(
    q_ptr,  # (B, T, H, K)
    k_ptr,  # (B, T, H, K)
    v_ptr,  # (B, T, H, V)
    d_o_ptr,  # (B, T, H, V)
    denominators_ptr,  # (B, T, H): the denominators
    d_denominators_ptr,  # (B, T, H): gradient by them
    states_ptr,  # (B, H, chunks, K, V): the state before each chunk
    z_states_ptr,  # (B, H, chunks, K)
    d_states_ptr,  # (B, H, chunks, K, V): gradient by the state after each chunk
    d_z_states_ptr,  # (B, H, chunks, K)
    d_q_ptr,  # (B, T, H, K), out
    d_k_ptr,  # (B, T, H, K), out
    d_v_ptr,  # (B, T, H, V), out
    scale,
    T,
    H,
    K: tl.constexpr,
    V: tl.constexpr,
    CHUNK: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_V: tl.constexpr,
):
    """Grid (B * H * chunks,): all gradients of one chunk's tokens."""
    i_bhc = tl.program_id(0).to(tl.int64)
    chunks = tl.cdiv(T, CHUNK)
    i_bh = i_bhc // chunks
    i_c = i_bhc % chunks
    row = ((i_bh // H) * T + i_c * CHUNK) * H + i_bh % H
    count = tl.minimum(T - i_c * CHUNK, CHUNK)
    k_offsets, k_mask = _tile(H * K, count, 0, K, CHUNK, BLOCK_K)
    q = tl.load(q_ptr + row * K + k_offsets, mask=k_mask, other=0.0)
    k = tl.load(k_ptr + row * K + k_offsets, mask=k_mask, other=0.0)
    rows = tl.arange(0, CHUNK)
    columns = tl.arange(0, BLOCK_K)
    denominators = tl.load(denominators_ptr + row + rows * H, mask=rows < count, other=1.0)
    d_denominators = tl.load(d_denominators_ptr + row + rows * H, mask=rows < count, other=0.0)
    z = tl.load(z_states_ptr + i_bhc * K + columns, mask=columns < K, other=0.0)
    d_z = tl.load(d_z_states_ptr + i_bhc * K + columns, mask=columns < K, other=0.0)
    gain = (scale / denominators)[:, None]

    queries = _query_features(q, k_mask).to(q.dtype)
    keys = _key_features(k, k_mask).to(q.dtype)
    scores = _causal(tl.dot(queries, tl.trans(keys), input_precision="ieee"), CHUNK) * gain

    # Queries first, keys and values in a second pass over V: few tiles alive at a time stay in registers.
    d_scores = tl.zeros((CHUNK, CHUNK), tl.float32)
    d_queries = tl.zeros((CHUNK, BLOCK_K), tl.float32)
    for first_v in range(0, V, BLOCK_V):
        v_offsets, v_mask = _tile(H * V, count, first_v, V, CHUNK, BLOCK_V)
        s_offsets, s_mask = _tile(V, K, first_v, V, BLOCK_K, BLOCK_V)
        v = tl.load(v_ptr + row * V + v_offsets, mask=v_mask, other=0.0)
        d_o = tl.load(d_o_ptr + row * V + v_offsets, mask=v_mask, other=0.0)
        state = tl.load(states_ptr + i_bhc * K * V + s_offsets, mask=s_mask, other=0.0).to(v.dtype)
        d_scores = tl.dot(d_o, tl.trans(v), d_scores, input_precision="ieee")
        d_queries = tl.dot(d_o, tl.trans(state), d_queries, input_precision="ieee")
    # The gain multiplies float32 products, so no operand of a dot is rounded for it.
    d_scores = _causal(d_scores * gain + d_denominators[:, None], CHUNK).to(q.dtype)
    d_queries = d_queries * gain + d_denominators[:, None] * z[None, :]
    d_queries = tl.dot(d_scores, keys, d_queries, input_precision="ieee")
    d_q = _query_features_grad(q, d_queries)
    tl.store(d_q_ptr + row * K + k_offsets, d_q.to(q.dtype), mask=k_mask)

    d_keys = tl.zeros((CHUNK, BLOCK_K), tl.float32) + d_z[None, :]
    for first_v in range(0, V, BLOCK_V):
        v_offsets, v_mask = _tile(H * V, count, first_v, V, CHUNK, BLOCK_V)
        s_offsets, s_mask = _tile(V, K, first_v, V, BLOCK_K, BLOCK_V)
        v = tl.load(v_ptr + row * V + v_offsets, mask=v_mask, other=0.0)
        d_o = tl.load(d_o_ptr + row * V + v_offsets, mask=v_mask, other=0.0)
        d_state = tl.load(d_states_ptr + i_bhc * K * V + s_offsets, mask=s_mask, other=0.0).to(v.dtype)
        d_keys = tl.dot(v, tl.trans(d_state), d_keys, input_precision="ieee")
        d_v = tl.dot(keys, d_state, input_precision="ieee")
        d_v = tl.dot(tl.trans(scores.to(v.dtype)), d_o, d_v, input_precision="ieee")
        tl.store(d_v_ptr + row * V + v_offsets, d_v.to(v.dtype), mask=v_mask)
    d_keys = tl.dot(tl.trans(d_scores), queries, d_keys, input_precision="ieee")
    d_k = _key_features_grad(k, k_mask, d_keys)
    tl.store(d_k_ptr + row * K + k_offsets, d_k.to(q.dtype), mask=k_mask)


def forward(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    *,
    state: tuple[torch.Tensor, ...],
    tuning: dict[str, int],
    eps: float,
) -> tuple[torch.Tensor, tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]:
    """Output (B, T, H, V), final state (S, z), residuals of `backward`; arguments as in `reference`."""
    B, T, H, K = q.shape
    V = v.shape[-1]
    chunk = tuning["CHUNK"]
    chunks = triton.cdiv(T, chunk)
    block_k = max(16, triton.next_power_of_2(K))
    block_v = min(64, max(16, triton.next_power_of_2(V)))
    v_tiles = triton.cdiv(V, block_v)
    q, k, v = q.contiguous(), k.contiguous(), v.contiguous()
    initial, z_initial = state[0].contiguous(), state[1].contiguous()
    states = torch.empty((B, H, chunks, K, V), dtype=torch.float32, device=q.device)
    z_states = torch.empty((B, H, chunks, K), dtype=torch.float32, device=q.device)
    final = torch.empty((B, H, K, V), dtype=torch.float32, device=q.device)
    z_final = torch.empty((B, H, K), dtype=torch.float32, device=q.device)
    denominators = torch.empty((B, T, H), dtype=torch.float32, device=q.device)
    output = torch.empty((B, T, H, V), dtype=v.dtype, device=q.device)
    _state_kernel[(B * H, v_tiles)](
        k, v, initial, z_initial, states, z_states, final, z_final, T, H,
        K=K, V=V, CHUNK=chunk, BLOCK_K=block_k, BLOCK_V=block_v,
        num_warps=tuning["num_warps"], num_stages=tuning["num_stages"],
    )
    _output_kernel[(B * H * chunks, v_tiles)](
        q, k, v, states, z_states, output, denominators, _scale(K), eps, T, H,
        K=K, V=V, CHUNK=chunk, BLOCK_K=block_k, BLOCK_V=block_v,
        num_warps=tuning["num_warps"], num_stages=tuning["num_stages"],
    )
    return output, (final, z_final), (q, k, v, output, denominators, states, z_states)


def backward(
    residuals: tuple[torch.Tensor, ...],
    d_output: torch.Tensor,
    d_state: tuple[torch.Tensor, ...],
    *,
    needs: tuple[bool, ...],
    tuning: dict[str, int],
    eps: float,
) -> tuple[torch.Tensor | None, ...]:
    """Gradients by q, k, v, S and z from those by the output (B, T, H, V) and the final state."""
    q, k, v, output, denominators, states, z_states = residuals
    B, T, H, K = q.shape
    V = v.shape[-1]
    chunk = tuning["CHUNK"]
    chunks = triton.cdiv(T, chunk)
    block_k = max(16, triton.next_power_of_2(K))
    block_v = min(32, max(16, triton.next_power_of_2(V)))  # half of forward's, for the registers
    d_output = d_output.contiguous()
    d_final, d_z_final = d_state[0].contiguous(), d_state[1].contiguous()
    d_denominators = torch.empty_like(denominators)
    d_states, d_z_states = torch.empty_like(states), torch.empty_like(z_states)
    d_initial, d_z_initial = torch.empty_like(d_final), torch.empty_like(d_z_final)
    _denominator_grad_kernel[(triton.cdiv(B * T * H, 32),)](
        output, d_output, denominators, d_denominators, B * T * H,
        V=V, ROWS=32, BLOCK_V=max(16, triton.next_power_of_2(V)), num_warps=4,
    )
    _state_grad_kernel[(B * H, triton.cdiv(V, block_v))](
        q, d_output, denominators, d_denominators, d_final, d_z_final, d_states, d_z_states,
        d_initial, d_z_initial, _scale(K), T, H,
        K=K, V=V, CHUNK=chunk, BLOCK_K=block_k, BLOCK_V=block_v,
        num_warps=tuning["num_warps"], num_stages=tuning["num_stages"],
    )
    if not any(needs[:-2]):
        return None, None, None, d_initial, d_z_initial
    d_q, d_k, d_v = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
    _input_grad_kernel[(B * H * chunks,)](
        q, k, v, d_output, denominators, d_denominators, states, z_states, d_states, d_z_states,
        d_q, d_k, d_v, _scale(K), T, H,
        K=K, V=V, CHUNK=chunk, BLOCK_K=block_k, BLOCK_V=block_v,
        num_warps=tuning["num_warps"], num_stages=tuning["num_stages"],
    )
    return d_q, d_k, d_v, d_initial, d_z_initial
