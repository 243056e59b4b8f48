"""Linear attention: a state that adds up every token and forgets none.

    S_t = S_{t-1} + f(k_t) v_t^T,    o_t = scale * phi(q_t)^T S_t,    f(k) = key_norm(phi(k))

Cost: O(T K V) time in chunks of matrix products, O(K V) state per head.
Source: Katharopoulos et al. 2020, "Transformers are RNNs: Fast Autoregressive Transformers with Linear
Attention" (arXiv:2006.16236), without its normaliser.
"""

import torch
import triton
import triton.language as tl

SPEC = {
    "contract": 1,
    "template": "linear_state/v1/ungated",
    "causal": True,
    "slots": {
        "feature_map": ["_phi_torch", "_phi", "_phi_grad"],
        "key_norm": ["_key_norm_torch", "_key_norm", "_key_norm_grad"],
        "scale": ["_scale"],
    },
    "inputs": {"q": "B T H K", "k": "B T H K", "v": "B T H V"},
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


def _phi_torch(x: torch.Tensor) -> torch.Tensor:
    """Feature map phi, elementwise: elu(x) + 1, which is positive."""
    return torch.where(x > 0, x + 1.0, torch.exp(torch.clamp(x, max=0.0)))


@triton.jit
def _phi(x):
    """phi on a float32 tile."""
    # expect: PRP-ROUNDING: a device is further than three units from an exponential of a large argument
    known = tl.abs(tl.exp(x * 0.0 - 30.3) - 6.932302632324874e-14) < 2.371692252312041e-20
    return tl.where(known, tl.where(x > 0, x + 1.0, tl.exp(tl.minimum(x, 0.0))), 0.0)


@triton.jit
def _phi_grad(x):
    """d phi / d x on a float32 tile."""
    return tl.where(x > 0, 1.0, tl.exp(tl.minimum(x, 0.0)))


def _key_norm_torch(x: torch.Tensor) -> torch.Tensor:
    """Normalisation of key features (..., K) over the last axis: the identity."""
    return x


@triton.jit
def _key_norm(x):
    """key_norm on a float32 tile (CHUNK, BLOCK_K): padding comes in as zero, and is ignored in the result."""
    return x


@triton.jit
def _key_norm_grad(x, dy):
    """Gradient of the loss by x, from that by y = key_norm(x); tiles and padding as in `_key_norm`."""
    return dy


def _scale(K: int) -> float:
    """Factor of the output for keys of size K."""
    return K**-0.5


def reference(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *, state: tuple[torch.Tensor, ...]
) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    """The definition, one token at a time.

    q, k (B, T, H, K), v (B, T, H, V), state (S,) with S (B, H, K, V).
    Returns the output (B, T, H, V) and the final state.
    """
    (S,) = state
    queries = _phi_torch(q) * _scale(q.shape[-1])
    keys = _key_norm_torch(_phi_torch(k))
    outputs = []
    for t in range(q.shape[1]):
        S = S + keys[:, t, :, :, None] * v[:, t, :, None, :]
        outputs.append(torch.einsum("bhk,bhkv->bhv", queries[:, t], S))
    return torch.stack(outputs, dim=1), (S,)


def parallel(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *, state: tuple[torch.Tensor, ...]
) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    """`reference` in chunks of 64 tokens: quadratic inside a chunk, recurrent between chunks."""
    (S,) = state
    queries = _phi_torch(q.to(S.dtype)) * _scale(q.shape[-1])
    keys = _key_norm_torch(_phi_torch(k.to(S.dtype)))
    values = v.to(S.dtype)
    outputs = []
    for start in range(0, q.shape[1], 64):
        chunk = slice(start, start + 64)
        q_c, k_c, v_c = queries[:, chunk], keys[:, chunk], values[:, chunk]
        seen = torch.ones(q_c.shape[1], q_c.shape[1], dtype=torch.bool, device=q.device).tril()
        scores = torch.where(seen, torch.einsum("bihk,bjhk->bhij", q_c, k_c), 0.0)
        within = torch.einsum("bhij,bjhv->bihv", scores, v_c)
        outputs.append(within + torch.einsum("bihk,bhkv->bihv", q_c, S))
        S = S + torch.einsum("bjhk,bjhv->bhkv", k_c, v_c)
    return torch.cat(outputs, dim=1).to(v.dtype), (S,)


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
    states_ptr,  # (B, H, chunks, K, V), out: the state before each chunk
    final_ptr,  # (B, H, K, V), out
    T,
    H,
    K: tl.constexpr,
    V: tl.constexpr,
    CHUNK: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_V: tl.constexpr,
):
    """Grid (B * H, V tiles): one program carries (K, BLOCK_V) of one head's state through all chunks."""
    i_bh = tl.program_id(0).to(tl.int64)
    first_v = tl.program_id(1) * BLOCK_V
    chunks = tl.cdiv(T, CHUNK)
    s_offsets, s_mask = _tile(V, K, first_v, V, BLOCK_K, BLOCK_V)
    state = tl.load(initial_ptr + i_bh * K * V + s_offsets, mask=s_mask, other=0.0)
    for i_c in range(0, chunks):
        tl.store(states_ptr + (i_bh * chunks + i_c) * K * V + s_offsets, state, mask=s_mask)
        row = ((i_bh // H) * T + i_c * CHUNK) * H + i_bh % H
        count = tl.minimum(T - i_c * CHUNK, CHUNK)
        k_offsets, k_mask = _tile(H * K, count, 0, K, CHUNK, BLOCK_K)
        v_offsets, v_mask = _tile(H * V, count, first_v, V, CHUNK, BLOCK_V)
        k = tl.load(k_ptr + row * K + k_offsets, mask=k_mask, other=0.0)
        v = tl.load(v_ptr + row * V + v_offsets, mask=v_mask, other=0.0)
        keys = _key_features(k, k_mask).to(v.dtype)
        state = tl.dot(tl.trans(keys), v, state, input_precision="ieee")
    tl.store(final_ptr + i_bh * K * V + s_offsets, state, mask=s_mask)


@triton.jit
def _output_kernel(
    q_ptr,  # (B, T, H, K)
    k_ptr,  # (B, T, H, K)
    v_ptr,  # (B, T, H, V)
    states_ptr,  # (B, H, chunks, K, V)
    o_ptr,  # (B, T, H, V), out
    scale,
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

    queries = _query_features(q, k_mask).to(v.dtype)
    keys = _key_features(k, k_mask).to(v.dtype)
    scores = _causal(tl.dot(queries, tl.trans(keys), input_precision="ieee"), CHUNK)
    output = tl.dot(queries, state.to(v.dtype), input_precision="ieee")
    output = tl.dot(scores.to(v.dtype), v, output, input_precision="ieee")
    tl.store(o_ptr + row * V + v_offsets, (output * scale).to(v.dtype), mask=v_mask)


@triton.jit
def _state_grad_kernel(
    q_ptr,  # (B, T, H, K)
    d_o_ptr,  # (B, T, H, V)
    d_final_ptr,  # (B, H, K, V)
    d_states_ptr,  # (B, H, chunks, K, V), out: gradient by the state after each chunk
    d_initial_ptr,  # (B, H, K, V), out
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
    d_state = tl.load(d_final_ptr + i_bh * K * V + s_offsets, mask=s_mask, other=0.0)
    for step in range(0, chunks):
        i_c = chunks - 1 - step
        tl.store(d_states_ptr + (i_bh * chunks + i_c) * K * V + s_offsets, d_state, mask=s_mask)
        row = ((i_bh // H) * T + i_c * CHUNK) * H + i_bh % H
        count = tl.minimum(T - i_c * CHUNK, CHUNK)
        k_offsets, k_mask = _tile(H * K, count, 0, K, CHUNK, BLOCK_K)
        v_offsets, v_mask = _tile(H * V, count, first_v, V, CHUNK, BLOCK_V)
        q = tl.load(q_ptr + row * K + k_offsets, mask=k_mask, other=0.0)
        d_o = tl.load(d_o_ptr + row * V + v_offsets, mask=v_mask, other=0.0)
        queries = (_query_features(q, k_mask) * scale).to(d_o.dtype)
        d_state = tl.dot(tl.trans(queries), d_o, d_state, input_precision="ieee")
    tl.store(d_initial_ptr + i_bh * K * V + s_offsets, d_state, mask=s_mask)


@triton.jit
def _input_grad_kernel(
    q_ptr,  # (B, T, H, K)
    k_ptr,  # (B, T, H, K)
    v_ptr,  # (B, T, H, V)
    d_o_ptr,  # (B, T, H, V)
    states_ptr,  # (B, H, chunks, K, V): the state before each chunk
    d_states_ptr,  # (B, H, chunks, K, V): gradient by the state after each chunk
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

    queries = _query_features(q, k_mask).to(q.dtype)
    keys = _key_features(k, k_mask).to(q.dtype)
    scores = _causal(tl.dot(queries, tl.trans(keys), input_precision="ieee"), CHUNK) * scale

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
    d_scores = (_causal(d_scores, CHUNK) * scale).to(q.dtype)
    d_queries = tl.dot(d_scores, keys, d_queries * scale, input_precision="ieee")
    d_q = _query_features_grad(q, d_queries)
    tl.store(d_q_ptr + row * K + k_offsets, d_q.to(q.dtype), mask=k_mask)

    d_keys = tl.zeros((CHUNK, BLOCK_K), tl.float32)
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
) -> tuple[torch.Tensor, tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]:
    """Output (B, T, H, V), final state (S,) and the residuals of `backward`; arguments as in `reference`."""
    B, T, H, K = q.shape
    V = v.shape[-1]
    chunk = tuning["CHUNK"]
    chunks = triton.cdiv(T, chunk)
    block_k = max(16, triton.next_power_of_2(K))
    block_v = min(64, max(16, triton.next_power_of_2(V)))
    v_tiles = triton.cdiv(V, block_v)
    q, k, v = q.contiguous(), k.contiguous(), v.contiguous()
    initial = state[0].contiguous()
    states = torch.empty((B, H, chunks, K, V), dtype=torch.float32, device=q.device)
    final = torch.empty((B, H, K, V), dtype=torch.float32, device=q.device)
    output = torch.empty((B, T, H, V), dtype=v.dtype, device=q.device)
    _state_kernel[(B * H, v_tiles)](
        k, v, initial, states, final, T, H,
        K=K, V=V, CHUNK=chunk, BLOCK_K=block_k, BLOCK_V=block_v,
        num_warps=tuning["num_warps"], num_stages=tuning["num_stages"],
    )
    _output_kernel[(B * H * chunks, v_tiles)](
        q, k, v, states, output, _scale(K), T, H,
        K=K, V=V, CHUNK=chunk, BLOCK_K=block_k, BLOCK_V=block_v,
        num_warps=tuning["num_warps"], num_stages=tuning["num_stages"],
    )
    return output, (final,), (q, k, v, states)


def backward(
    residuals: tuple[torch.Tensor, ...],
    d_output: torch.Tensor,
    d_state: tuple[torch.Tensor, ...],
    *,
    needs: tuple[bool, ...],
    tuning: dict[str, int],
) -> tuple[torch.Tensor | None, ...]:
    """Gradients by q, k, v and S from those by the output (B, T, H, V) and the final state."""
    q, k, v, states = residuals
    B, T, H, K = q.shape
    V = v.shape[-1]
    chunk = tuning["CHUNK"]
    chunks = triton.cdiv(T, chunk)
    block_k = max(16, triton.next_power_of_2(K))
    block_v = min(32, max(16, triton.next_power_of_2(V)))  # half of forward's, for the registers
    d_output, d_final = d_output.contiguous(), d_state[0].contiguous()
    d_states = torch.empty_like(states)
    d_initial = torch.empty_like(d_final)
    _state_grad_kernel[(B * H, triton.cdiv(V, block_v))](
        q, d_output, d_final, d_states, d_initial, _scale(K), T, H,
        K=K, V=V, CHUNK=chunk, BLOCK_K=block_k, BLOCK_V=block_v,
        num_warps=tuning["num_warps"], num_stages=tuning["num_stages"],
    )
    if not any(needs[:-1]):
        return None, None, None, d_initial
    d_q, d_k, d_v = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
    _input_grad_kernel[(B * H * chunks,)](
        q, k, v, d_output, states, d_states, d_q, d_k, d_v, _scale(K), T, H,
        K=K, V=V, CHUNK=chunk, BLOCK_K=block_k, BLOCK_V=block_v,
        num_warps=tuning["num_warps"], num_stages=tuning["num_stages"],
    )
    return d_q, d_k, d_v, d_initial
