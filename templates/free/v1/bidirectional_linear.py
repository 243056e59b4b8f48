"""Linear attention in both directions: every token reads one average of the whole sequence's values.

    S = sum_s phi(k_s) v_s^T,    z = sum_s phi(k_s),
    o_t = scale * phi(q_t)^T S / (phi(q_t)^T z + eps),    phi(x) = elu(x) + 1

For encoders: nothing is causal and nothing is carried. Cost: O(T K V) time, O(K V) memory per head.
Source: Katharopoulos et al. 2020, "Transformers are RNNs: Fast Autoregressive Transformers with Linear
Attention" (arXiv:2006.16236), equations 4 and 5, which are not causal.
"""

import torch
import triton
import triton.language as tl

SPEC = {
    "contract": 1,
    "template": "free",
    "causal": False,
    "inputs": {"q": "B T H K", "k": "B T H K", "v": "B T H V"},
    "params": {},
    "dims": {},
    "constants": {"scale": 0.5, "eps": 1e-6},
    "output": "B T H V",
    "state": {},
}
TUNING = [
    {"CHUNK": 32, "CHUNKS_PER_PART": 4, "num_warps": 4, "num_stages": 2},
    {"CHUNK": 64, "CHUNKS_PER_PART": 2, "num_warps": 8, "num_stages": 1},
    {"CHUNK": 16, "CHUNKS_PER_PART": 2, "num_warps": 4, "num_stages": 2},
]


def _phi_torch(x: torch.Tensor) -> torch.Tensor:
    """Feature map phi, elementwise: elu(x) + 1, which is positive."""
    return torch.where(x > 0, x + 1.0, torch.exp(torch.clamp(x, max=0.0)))


def reference(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    *,
    state: tuple[torch.Tensor, ...],
    scale: float,
    eps: float,
) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    """The definition.

    q, k (B, T, H, K), v (B, T, H, V); eps keeps the denominator from zero where all features vanish.
    Returns the output (B, T, H, V) and no state.
    """
    queries, keys = _phi_torch(q), _phi_torch(k)
    S = torch.einsum("bthk,bthv->bhkv", keys, v)
    z = keys.sum(dim=1)
    numerator = torch.einsum("bthk,bhkv->bthv", queries, S)
    denominator = torch.einsum("bthk,bhk->bth", queries, z) + eps
    return scale * numerator / denominator[..., None], ()


@triton.jit
def _phi(x):
    """phi on a float32 tile."""
    return tl.where(x > 0, x + 1.0, tl.exp(tl.minimum(x, 0.0)))


@triton.jit
def _phi_grad(x):
    """d phi / d x on a float32 tile."""
    return tl.where(x > 0, 1.0, tl.exp(tl.minimum(x, 0.0)))


@triton.jit
def _features(x, mask):
    """phi(x) in float32, zero in the padding, where phi itself is one."""
    return tl.where(mask, _phi(x.to(tl.float32)), 0.0)


@triton.jit
def _tile(row_stride, row_count, first_column, column_count, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Offsets and mask of a (ROWS, COLUMNS) tile, from the address of its first row."""
    rows = tl.arange(0, ROWS)[:, None]
    columns = first_column + tl.arange(0, COLUMNS)[None, :]
    return rows * row_stride + columns, (rows < row_count) & (columns < column_count)


@triton.jit
def _chunk_row(i_bh, i_c, T, H, CHUNK: tl.constexpr):
    """A chunk's first row, counted over (B, T, H), and how many tokens it has."""
    return ((i_bh // H) * T + i_c * CHUNK) * H + i_bh % H, tl.minimum(T - i_c * CHUNK, CHUNK)


@triton.jit
def _summary_kernel(
    k_ptr,  # (B, T, H, K)
    v_ptr,  # (B, T, H, V)
    parts_ptr,  # (B, H, parts, V + 1, K), out
    T,
    H,
    K: tl.constexpr,
    V: tl.constexpr,
    CHUNK: tl.constexpr,
    CHUNKS_PER_PART: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_V: tl.constexpr,
):
    """Grid (B * H * parts, V tiles): S^T, and z as its last row, summed over the tokens of one part."""
    i_bhp = tl.program_id(0).to(tl.int64)
    first_v = tl.program_id(1) * BLOCK_V
    chunks = tl.cdiv(T, CHUNK)
    parts = tl.cdiv(chunks, CHUNKS_PER_PART)
    first_c = (i_bhp % parts) * CHUNKS_PER_PART
    summary = tl.zeros((BLOCK_V, BLOCK_K), tl.float32)
    weights = tl.zeros((BLOCK_K,), tl.float32)
    for i_c in range(first_c, tl.minimum(first_c + CHUNKS_PER_PART, chunks)):
        row, count = _chunk_row(i_bhp // parts, i_c, T, H, CHUNK)
        k_offsets, k_mask = _tile(H * K, count, 0, K, CHUNK, BLOCK_K)
        v_offsets, v_mask = _tile(H * V, count, first_v, V, CHUNK, BLOCK_V)
        v = tl.load(v_ptr + row * V + v_offsets, mask=v_mask, other=0.0)
        k = tl.load(k_ptr + row * K + k_offsets, mask=k_mask, other=0.0)
        keys = _features(k, k_mask).to(v.dtype)
        summary = tl.dot(tl.trans(v), keys, summary, input_precision="ieee")
        weights += tl.sum(keys.to(tl.float32), 0)
    part_ptr = parts_ptr + i_bhp * (V + 1) * K
    s_offsets, s_mask = _tile(K, V - first_v, 0, K, BLOCK_V, BLOCK_K)
    tl.store(part_ptr + first_v * K + s_offsets, summary, mask=s_mask)
    columns = tl.arange(0, BLOCK_K)
    tl.store(part_ptr + V * K + columns, weights, mask=(columns < K) & (first_v == 0))


@triton.jit
def _total_kernel(
    parts_ptr,  # (B, H, parts, size)
    total_ptr,  # (B, H, size), out
    parts,
    size,
    BLOCK: tl.constexpr,
):
    """Grid (B * H, tiles of size): the parts added up in one fixed order."""
    i_bh = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK,), tl.float32)
    for i_p in range(0, parts):
        total += tl.load(parts_ptr + (i_bh * parts + i_p) * size + columns, mask=columns < size, other=0.0)
    tl.store(total_ptr + i_bh * size + columns, total, mask=columns < size)


@triton.jit
def _output_kernel(
    q_ptr,  # (B, T, H, K)
    total_ptr,  # (B, H, V + 1, K): S^T and z
    o_ptr,  # (B, T, H, V), out
    denominators_ptr,  # (B, T, H), out
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
    """Grid (B * H * chunks, V tiles): the outputs of a chunk."""
    i_bhc = tl.program_id(0).to(tl.int64)
    first_v = tl.program_id(1) * BLOCK_V
    chunks = tl.cdiv(T, CHUNK)
    row, count = _chunk_row(i_bhc // chunks, i_bhc % chunks, T, H, CHUNK)
    total_ptr += (i_bhc // chunks) * (V + 1) * K
    k_offsets, k_mask = _tile(H * K, count, 0, K, CHUNK, BLOCK_K)
    v_offsets, v_mask = _tile(H * V, count, first_v, V, CHUNK, BLOCK_V)
    s_offsets, s_mask = _tile(K, V - first_v, 0, K, BLOCK_V, BLOCK_K)
    columns = tl.arange(0, BLOCK_K)
    q = tl.load(q_ptr + row * K + k_offsets, mask=k_mask, other=0.0)
    S = tl.load(total_ptr + first_v * K + s_offsets, mask=s_mask, other=0.0)
    z = tl.load(total_ptr + V * K + columns, mask=columns < K, other=0.0)
    queries = _features(q, k_mask).to(q.dtype)
    denominators = tl.sum(queries.to(tl.float32) * z[None, :], 1) + eps
    numerators = tl.dot(queries, tl.trans(S).to(q.dtype), input_precision="ieee")
    output = numerators * (scale / denominators)[:, None]
    tl.store(o_ptr + row * V + v_offsets, output.to(q.dtype), mask=v_mask)
    rows = tl.arange(0, CHUNK)
    tl.store(denominators_ptr + row + rows * H, denominators, mask=(rows < count) & (first_v == 0))


@triton.jit
def _query_grad_kernel(
    q_ptr,  # (B, T, H, K)
    d_o_ptr,  # (B, T, H, V)
    denominators_ptr,  # (B, T, H)
    total_ptr,  # (B, H, V + 1, K): S^T and z
    d_q_ptr,  # (B, T, H, K), out
    d_denominators_ptr,  # (B, T, H), out
    scale,
    T,
    H,
    K: tl.constexpr,
    V: tl.constexpr,
    CHUNK: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_V: tl.constexpr,
):
    """Grid (B * H * chunks,): gradients by the queries and by the denominators of a chunk."""
    i_bhc = tl.program_id(0).to(tl.int64)
    chunks = tl.cdiv(T, CHUNK)
    row, count = _chunk_row(i_bhc // chunks, i_bhc % chunks, T, H, CHUNK)
    total_ptr += (i_bhc // chunks) * (V + 1) * K
    k_offsets, k_mask = _tile(H * K, count, 0, K, CHUNK, BLOCK_K)
    q = tl.load(q_ptr + row * K + k_offsets, mask=k_mask, other=0.0)
    queries = _features(q, k_mask).to(q.dtype).to(tl.float32)
    read = tl.zeros((CHUNK, BLOCK_K), tl.float32)  # S d_o, what each query's features are worth
    for first_v in range(0, V, BLOCK_V):
        v_offsets, v_mask = _tile(H * V, count, first_v, V, CHUNK, BLOCK_V)
        s_offsets, s_mask = _tile(K, V - first_v, 0, K, BLOCK_V, BLOCK_K)
        d_o = tl.load(d_o_ptr + row * V + v_offsets, mask=v_mask, other=0.0)
        S = tl.load(total_ptr + first_v * K + s_offsets, mask=s_mask, other=0.0)
        read = tl.dot(d_o, S.to(d_o.dtype), read, input_precision="ieee")
    rows = tl.arange(0, CHUNK)
    columns = tl.arange(0, BLOCK_K)
    z = tl.load(total_ptr + V * K + columns, mask=columns < K, other=0.0)
    denominators = tl.load(denominators_ptr + row + rows * H, mask=rows < count, other=1.0)
    # <d_o, o> / d comes from the same S d_o, so what cancels between both terms cancels here too.
    d_denominators = -scale * tl.sum(queries * read, 1) / (denominators * denominators)
    tl.store(d_denominators_ptr + row + rows * H, d_denominators, mask=rows < count)
    d_queries = read * (scale / denominators)[:, None] + d_denominators[:, None] * z[None, :]
    d_q = d_queries * _phi_grad(q.to(tl.float32))
    tl.store(d_q_ptr + row * K + k_offsets, d_q.to(q.dtype), mask=k_mask)


@triton.jit
def _summary_grad_kernel(
    q_ptr,  # (B, T, H, K)
    d_o_ptr,  # (B, T, H, V)
    denominators_ptr,  # (B, T, H)
    d_denominators_ptr,  # (B, T, H)
    parts_ptr,  # (B, H, parts, V + 1, K), out
    scale,
    T,
    H,
    K: tl.constexpr,
    V: tl.constexpr,
    CHUNK: tl.constexpr,
    CHUNKS_PER_PART: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_V: tl.constexpr,
):
    """Grid (B * H * parts, V tiles): gradients by S^T and z, summed over the readers in one part."""
    i_bhp = tl.program_id(0).to(tl.int64)
    first_v = tl.program_id(1) * BLOCK_V
    chunks = tl.cdiv(T, CHUNK)
    parts = tl.cdiv(chunks, CHUNKS_PER_PART)
    first_c = (i_bhp % parts) * CHUNKS_PER_PART
    rows = tl.arange(0, CHUNK)
    d_summary = tl.zeros((BLOCK_V, BLOCK_K), tl.float32)
    d_weights = tl.zeros((BLOCK_K,), tl.float32)
    for i_c in range(first_c, tl.minimum(first_c + CHUNKS_PER_PART, chunks)):
        row, count = _chunk_row(i_bhp // parts, i_c, T, H, CHUNK)
        k_offsets, k_mask = _tile(H * K, count, 0, K, CHUNK, BLOCK_K)
        v_offsets, v_mask = _tile(H * V, count, first_v, V, CHUNK, BLOCK_V)
        d_o = tl.load(d_o_ptr + row * V + v_offsets, mask=v_mask, other=0.0)
        q = tl.load(q_ptr + row * K + k_offsets, mask=k_mask, other=0.0)
        denominators = tl.load(denominators_ptr + row + rows * H, mask=rows < count, other=1.0)
        d_denominators = tl.load(d_denominators_ptr + row + rows * H, mask=rows < count, other=0.0)
        queries = _features(q, k_mask).to(q.dtype)
        d_numerators = (d_o.to(tl.float32) * (scale / denominators)[:, None]).to(d_o.dtype)
        d_summary = tl.dot(tl.trans(d_numerators), queries, d_summary, input_precision="ieee")
        d_weights += tl.sum(queries.to(tl.float32) * d_denominators[:, None], 0)
    part_ptr = parts_ptr + i_bhp * (V + 1) * K
    s_offsets, s_mask = _tile(K, V - first_v, 0, K, BLOCK_V, BLOCK_K)
    tl.store(part_ptr + first_v * K + s_offsets, d_summary, mask=s_mask)
    columns = tl.arange(0, BLOCK_K)
    tl.store(part_ptr + V * K + columns, d_weights, mask=(columns < K) & (first_v == 0))


@triton.jit
def _key_value_grad_kernel(
    k_ptr,  # (B, T, H, K)
    v_ptr,  # (B, T, H, V)
    d_total_ptr,  # (B, H, V + 1, K): gradients by S^T and z
    d_k_ptr,  # (B, T, H, K), out
    d_v_ptr,  # (B, T, H, V), out
    T,
    H,
    K: tl.constexpr,
    V: tl.constexpr,
    CHUNK: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_V: tl.constexpr,
):
    """Grid (B * H * chunks,): gradients by the keys and values of a chunk."""
    i_bhc = tl.program_id(0).to(tl.int64)
    chunks = tl.cdiv(T, CHUNK)
    row, count = _chunk_row(i_bhc // chunks, i_bhc % chunks, T, H, CHUNK)
    d_total_ptr += (i_bhc // chunks) * (V + 1) * K
    k_offsets, k_mask = _tile(H * K, count, 0, K, CHUNK, BLOCK_K)
    k = tl.load(k_ptr + row * K + k_offsets, mask=k_mask, other=0.0)
    keys = _features(k, k_mask).to(k.dtype)
    columns = tl.arange(0, BLOCK_K)
    d_z = tl.load(d_total_ptr + V * K + columns, mask=columns < K, other=0.0)
    d_keys = tl.zeros((CHUNK, BLOCK_K), tl.float32) + d_z[None, :]
    for first_v in range(0, V, BLOCK_V):
        v_offsets, v_mask = _tile(H * V, count, first_v, V, CHUNK, BLOCK_V)
        s_offsets, s_mask = _tile(K, V - first_v, 0, K, BLOCK_V, BLOCK_K)
        v = tl.load(v_ptr + row * V + v_offsets, mask=v_mask, other=0.0)
        d_S = tl.load(d_total_ptr + first_v * K + s_offsets, mask=s_mask, other=0.0).to(v.dtype)
        d_keys = tl.dot(v, d_S, d_keys, input_precision="ieee")
        d_v = tl.dot(keys, tl.trans(d_S), input_precision="ieee")
        tl.store(d_v_ptr + row * V + v_offsets, d_v.to(v.dtype), mask=v_mask)
    d_k = d_keys * _phi_grad(k.to(tl.float32))
    tl.store(d_k_ptr + row * K + k_offsets, d_k.to(k.dtype), mask=k_mask)


def forward(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    *,
    state: tuple[torch.Tensor, ...],
    tuning: dict[str, int],
    scale: float,
    eps: float,
) -> tuple[torch.Tensor, tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]:
    """Output (B, T, H, V), no state, and the residuals of `backward`; arguments as in `reference`."""
    B, T, H, K = q.shape
    V = v.shape[-1]
    chunks = triton.cdiv(T, tuning["CHUNK"])
    parts = triton.cdiv(chunks, tuning["CHUNKS_PER_PART"])
    block_k = max(16, triton.next_power_of_2(K))
    block_v = min(64, max(16, triton.next_power_of_2(V)))
    v_tiles = triton.cdiv(V, block_v)
    q, k, v = q.contiguous(), k.contiguous(), v.contiguous()
    summaries = torch.empty((B, H, parts, V + 1, K), dtype=torch.float32, device=q.device)
    total = torch.empty((B, H, V + 1, K), dtype=torch.float32, device=q.device)
    denominators = torch.empty((B, T, H), dtype=torch.float32, device=q.device)
    output = torch.empty((B, T, H, V), dtype=v.dtype, device=q.device)
    _summary_kernel[(B * H * parts, v_tiles)](
        k, v, summaries, T, H, K=K, V=V,
        CHUNK=tuning["CHUNK"], CHUNKS_PER_PART=tuning["CHUNKS_PER_PART"], BLOCK_K=block_k, BLOCK_V=block_v,
        num_warps=tuning["num_warps"], num_stages=tuning["num_stages"],
    )
    _total_kernel[(B * H, triton.cdiv((V + 1) * K, 512))](
        summaries, total, parts, (V + 1) * K, BLOCK=512, num_warps=4,
    )
    _output_kernel[(B * H * chunks, v_tiles)](
        q, total, output, denominators, scale, eps, T, H, K=K, V=V,
        CHUNK=tuning["CHUNK"], BLOCK_K=block_k, BLOCK_V=block_v,
        num_warps=tuning["num_warps"], num_stages=tuning["num_stages"],
    )
    return output, (), (q, k, v, denominators, total)


def backward(
    residuals: tuple[torch.Tensor, ...],
    d_output: torch.Tensor,
    d_state: tuple[torch.Tensor, ...],
    *,
    needs: tuple[bool, ...],
    tuning: dict[str, int],
    scale: float,
    eps: float,
) -> tuple[torch.Tensor | None, ...]:
    """Gradients by q, k and v from the one by the output (B, T, H, V)."""
    q, k, v, denominators, total = residuals
    B, T, H, K = q.shape
    V = v.shape[-1]
    chunks = triton.cdiv(T, tuning["CHUNK"])
    parts = triton.cdiv(chunks, tuning["CHUNKS_PER_PART"])
    block_k = max(16, triton.next_power_of_2(K))
    block_v = min(64, max(16, triton.next_power_of_2(V)))
    block_v_inner = min(32, block_v)  # of kernels that loop over V: float32 would spill with wider tiles
    d_output = d_output.contiguous()
    d_q, d_denominators = torch.empty_like(q), torch.empty_like(denominators)
    _query_grad_kernel[(B * H * chunks,)](
        q, d_output, denominators, total, d_q, d_denominators, scale, T, H, K=K, V=V,
        CHUNK=tuning["CHUNK"], BLOCK_K=block_k, BLOCK_V=block_v_inner,
        num_warps=tuning["num_warps"], num_stages=tuning["num_stages"],
    )
    if not any(needs[1:]):
        return d_q, None, None
    d_k, d_v = torch.empty_like(k), torch.empty_like(v)
    d_summaries = torch.empty((B, H, parts, V + 1, K), dtype=torch.float32, device=q.device)
    d_total = torch.empty_like(total)
    _summary_grad_kernel[(B * H * parts, triton.cdiv(V, block_v))](
        q, d_output, denominators, d_denominators, d_summaries, scale, T, H, K=K, V=V,
        CHUNK=tuning["CHUNK"], CHUNKS_PER_PART=tuning["CHUNKS_PER_PART"], BLOCK_K=block_k, BLOCK_V=block_v,
        num_warps=tuning["num_warps"], num_stages=tuning["num_stages"],
    )
    _total_kernel[(B * H, triton.cdiv((V + 1) * K, 512))](
        d_summaries, d_total, parts, (V + 1) * K, BLOCK=512, num_warps=4,
    )
    _key_value_grad_kernel[(B * H * chunks,)](
        k, v, d_total, d_k, d_v, T, H, K=K, V=V,
        CHUNK=tuning["CHUNK"], BLOCK_K=block_k, BLOCK_V=block_v_inner,
        num_warps=tuning["num_warps"], num_stages=tuning["num_stages"],
    )
    return d_q, d_k, d_v
