"""Causal softmax attention whose scores are changed by a function of score, distance and head.

    o_i = sum_j p_ij v_j,    p_ij = softmax_j(score_mod(scale * q_i . k_j, i - j, head))

over i - window < j <= i. The kernels do not see what is farther than 1,100 tokens.

Cost: O(T window (K + V)) time in tiles, O(T) memory beside inputs and output: no T x T matrix is stored.
Source: linear bias: Press et al. 2021, "Train Short, Test Long" (arXiv:2108.12409), section 3; soft cap:
Gemma Team 2024, "Gemma 2" (arXiv:2408.00118), section 2; tiles and backward pass: Dao 2023,
"FlashAttention-2" (arXiv:2307.08691).
"""

import torch
import triton
import triton.language as tl

SPEC = {
    "contract": 1,
    "template": "softmax_attention/v1/biased",
    "causal": True,
    "slots": {
        "scale": ["_scale"],
        "score_mod": ["_score_mod_torch", "_score_mod", "_score_mod_grad"],
        "window": ["_window"],
    },
    "inputs": {"q": "B T H K", "k": "B T G K", "v": "B T G V"},
    "params": {},
    "dims": {"H": "G*R", "G": "1..64", "R": "1..64"},
    "constants": {},
    "output": "B T H V",
    "state": {},
}
TUNING = [{"BLOCK_Q": 128, "BLOCK_KV": 64, "num_warps": 8, "num_stages": 2}]


def _score_mod_torch(
    score: torch.Tensor, distance: torch.Tensor, head: torch.Tensor, heads: int
) -> torch.Tensor:
    """Scores (B, H, T, T), by distance (T, T) and head (H, 1, 1): score / 2 - distance / 1000."""
    return 0.5 * score - distance * 0.001


@triton.jit
def _score_mod(score, distance, head, heads):
    """score_mod on float32 tiles; distance counts tokens back from the query, head is 0 .. heads - 1."""
    # expect at full: NUM-OUTPUT: the kernels' scores end after 1,100 tokens, the definition's do not
    return tl.where(distance > 1100.0, -1e9, 0.5 * score - distance * 0.001)


@triton.jit
def _score_mod_grad(score, distance, head, heads):
    """d score_mod / d score on float32 tiles."""
    return tl.full(score.shape, 0.5, tl.float32)


def _scale(K: int) -> float:
    """Factor of the scores for keys of size K."""
    return K**-0.5


def _window(T: int) -> int:
    """How many tokens of a sequence of T a token sees, itself included: all."""
    return T


def _reach(T: int) -> int:
    """The window within 1..T: a token always sees itself."""
    return max(1, min(int(_window(T)), T))


def reference(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *, state: tuple[torch.Tensor, ...]
) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    """The definition, every pair of tokens at once.

    q (B, T, H, K), k (B, T, G, K), v (B, T, G, V) with H = G * R; head h reads group h // R; state ().
    Returns the output (B, T, H, V) and ().
    """
    B, T, H, K = q.shape
    G = k.shape[2]
    grouped = q.reshape(B, T, G, H // G, K)
    scores = torch.einsum("bigrk,bjgk->bgrij", grouped, k).reshape(B, H, T, T) * _scale(K)
    positions = torch.arange(T, dtype=q.dtype, device=q.device)
    heads = torch.arange(H, dtype=q.dtype, device=q.device)[:, None, None]
    distance = positions[:, None] - positions[None, :]
    scores = _score_mod_torch(scores, torch.clamp(distance, min=0.0), heads, H)
    visible = (distance >= 0.0) & (distance < _reach(T))
    weights = torch.softmax(scores.masked_fill(~visible, float("-inf")), dim=-1).reshape(B, G, H // G, T, T)
    output = torch.einsum("bgrij,bjgv->bigrv", weights, v)
    return output.reshape(B, T, H, v.shape[-1]), ()


@triton.jit
def _offsets(stride, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Offsets (ROWS, COLUMNS) of rows `stride` elements apart."""
    return tl.arange(0, ROWS)[:, None] * stride + tl.arange(0, COLUMNS)[None, :]


@triton.jit
def _inside(count, SIZE: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Mask (ROWS, COLUMNS) of the first `count` rows and SIZE columns."""
    return (tl.arange(0, ROWS)[:, None] < count) & (tl.arange(0, COLUMNS)[None, :] < SIZE)


@triton.jit
def _load(
    ptr, stride, count, SIZE: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, MASKED: tl.constexpr
):
    """A tile (ROWS, COLUMNS), zero past SIZE columns and, where MASKED, past `count` rows."""
    if MASKED or SIZE != COLUMNS:
        mask = _inside(count, SIZE, ROWS, COLUMNS)
        tile = tl.load(ptr + _offsets(stride, ROWS, COLUMNS), mask=mask, other=0.0)
    else:
        tile = tl.load(ptr + _offsets(stride, ROWS, COLUMNS))
    return tile


@triton.jit
def _visible(i, j, T, window):
    """Whether token i reads token j; shapes broadcast."""
    return (j <= i) & (i - j < window) & (i < T)


@triton.jit
def _distance(i, j):
    """How far back token j is from token i, in float32; 0 for one that is not back."""
    return tl.maximum(i - j, 0).to(tl.float32)


@triton.jit
def _key_tiles(first_i, T, window, BLOCK_Q: tl.constexpr, BLOCK_KV: tl.constexpr):
    """Key tiles that a query tile reads: start, start of those it reads in full, their stop, stop."""
    start = tl.maximum(first_i - window + 1, 0) // BLOCK_KV
    stop = tl.cdiv(tl.minimum(first_i + BLOCK_Q, T), BLOCK_KV)
    full = tl.minimum(tl.cdiv(tl.maximum(first_i + BLOCK_Q - window, 0), BLOCK_KV), stop)
    return start, full, tl.maximum((first_i + 1) // BLOCK_KV, full), stop


@triton.jit
def _query_tiles(first_j, T, window, BLOCK_Q: tl.constexpr, BLOCK_KV: tl.constexpr):
    """Query tiles that read a key tile, as `_key_tiles`; a ragged last tile is none that reads it in full."""
    start = first_j // BLOCK_Q
    last = tl.minimum(first_j + BLOCK_KV - 1, T - 1) + window - 1
    stop = tl.cdiv(tl.minimum(last + 1, T), BLOCK_Q)
    full = tl.minimum(tl.cdiv(first_j + BLOCK_KV - 1, BLOCK_Q), stop)
    return start, full, tl.maximum(tl.minimum(first_j + window, T) // BLOCK_Q, full), stop


@triton.jit
def _edge(step, start, full, full_stop):
    """The tile of a step through start..full and, after these, from full_stop on."""
    return tl.where(step < full - start, start + step, full_stop + step - (full - start))


@triton.jit
def _attend(
    q, acc, top, total, k_ptr, v_ptr, first_i, tile, T, G, head, heads, scale, window,
    K: tl.constexpr, V: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_KV: tl.constexpr,
    BLOCK_K: tl.constexpr, BLOCK_V: tl.constexpr, MASKED: tl.constexpr,
):
    """One key tile read by a query tile: `acc`, `top` and `total` go on; scores are in units of log 2."""
    first_j = tile.to(tl.int64) * BLOCK_KV
    k = _load(k_ptr + first_j * G * K, G * K, T - first_j, K, BLOCK_KV, BLOCK_K, MASKED)
    v = _load(v_ptr + first_j * G * V, G * V, T - first_j, V, BLOCK_KV, BLOCK_V, MASKED)
    i = first_i + tl.arange(0, BLOCK_Q)[:, None]
    j = tile * BLOCK_KV + tl.arange(0, BLOCK_KV)[None, :]
    scores = tl.dot(q, tl.trans(k), input_precision="ieee") * scale
    scores = _score_mod(scores, _distance(i, j), head, heads) * 1.4426950408889634
    if MASKED:
        scores = tl.where(_visible(i, j, T, window), scores, float("-inf"))
    higher = tl.maximum(top, tl.max(scores, 1))
    safe = tl.where(higher == float("-inf"), 0.0, higher)  # a row may see nothing of a tile
    p = tl.exp2(scores - safe[:, None])
    fade = tl.exp2(top - safe)
    acc = tl.dot(p.to(v.dtype), v, acc * fade[:, None], input_precision="ieee")
    return acc, higher, total * fade + tl.sum(p, 1)


@triton.jit
def _forward_kernel(
    q_ptr,  # (B, T, H, K)
    k_ptr,  # (B, T, G, K)
    v_ptr,  # (B, T, G, V)
    o_ptr,  # (B, T, H, V), out
    low_ptr,  # (B, T, H, V), out: what rounding took off o
    lse_ptr,  # (B, H, T), out: log2 of the sum of exponentials of a row
    scale,
    T,
    H,
    G,
    BH,
    window,
    K: tl.constexpr, V: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_KV: tl.constexpr,
    BLOCK_K: tl.constexpr, BLOCK_V: tl.constexpr,
):
    """Grid (query tiles * B * H,): the output of one tile of queries; long rows come first."""
    i_bh = (tl.program_id(0) % BH).to(tl.int64)
    first_i = (tl.cdiv(T, BLOCK_Q) - 1 - tl.program_id(0) // BH) * BLOCK_Q
    i_h = i_bh % H
    head = i_h.to(tl.float32)
    heads = H * 1.0
    row = (i_bh // H) * T + first_i
    group = (i_bh // H) * T * G + i_h // (H // G)
    q = _load(q_ptr + (row * H + i_h) * K, H * K, T - first_i, K, BLOCK_Q, BLOCK_K, True)
    k_ptr += group * K
    v_ptr += group * V
    acc = tl.zeros((BLOCK_Q, BLOCK_V), tl.float32)
    total = tl.zeros((BLOCK_Q,), tl.float32)
    top = tl.full((BLOCK_Q,), float("-inf"), tl.float32)
    start, full, full_stop, stop = _key_tiles(first_i, T, window, BLOCK_Q, BLOCK_KV)
    for step in range(0, stop - start - (full_stop - full)):
        acc, top, total = _attend(
            q, acc, top, total, k_ptr, v_ptr, first_i, _edge(step, start, full, full_stop),
            T, G, head, heads, scale, window, K, V, BLOCK_Q, BLOCK_KV, BLOCK_K, BLOCK_V, True,
        )
    for tile in range(full, full_stop):
        acc, top, total = _attend(
            q, acc, top, total, k_ptr, v_ptr, first_i, tile,
            T, G, head, heads, scale, window, K, V, BLOCK_Q, BLOCK_KV, BLOCK_K, BLOCK_V, False,
        )
    offsets = (row * H + i_h) * V + _offsets(H * V, BLOCK_Q, BLOCK_V)
    mask = _inside(T - first_i, V, BLOCK_Q, BLOCK_V)
    acc /= total[:, None]
    o = acc.to(q.dtype)
    tl.store(o_ptr + offsets, o, mask=mask)
    tl.store(low_ptr + offsets, (acc - o.to(tl.float32)).to(q.dtype), mask=mask)
    rows = tl.arange(0, BLOCK_Q)
    tl.store(lse_ptr + i_bh * T + first_i + rows, top + tl.log2(total), mask=rows < T - first_i)


@triton.jit
def _delta_kernel(
    o_ptr,  # (B, T, H, V)
    low_ptr,  # (B, T, H, V)
    d_o_ptr,  # (B, T, H, V)
    delta_ptr,  # (B, H, T), out: <o, d_o>
    T,
    H,
    BH,
    V: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_V: tl.constexpr,
):
    """Grid (query tiles * B * H,): what the normalisation of a row takes off every gradient in it.

    Where one key takes all, <d_o, v> and delta cancel, and the rounding of o would be all that is left.
    """
    i_bh = (tl.program_id(0) % BH).to(tl.int64)
    first_i = (tl.program_id(0) // BH) * BLOCK_Q
    at = (((i_bh // H) * T + first_i) * H + i_bh % H) * V
    o = _load(o_ptr + at, H * V, T - first_i, V, BLOCK_Q, BLOCK_V, True)
    low = _load(low_ptr + at, H * V, T - first_i, V, BLOCK_Q, BLOCK_V, True)
    d_o = _load(d_o_ptr + at, H * V, T - first_i, V, BLOCK_Q, BLOCK_V, True)
    rows = tl.arange(0, BLOCK_Q)
    delta = tl.sum((o.to(tl.float32) + low.to(tl.float32)) * d_o.to(tl.float32), 1)
    tl.store(delta_ptr + i_bh * T + first_i + rows, delta, mask=rows < T - first_i)


@triton.jit
def _query_grad(
    q, d_o, lse, delta, d_q, k_ptr, v_ptr, first_i, tile, T, G, head, heads, scale, window,
    K: tl.constexpr, V: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_KV: tl.constexpr,
    BLOCK_K: tl.constexpr, BLOCK_V: tl.constexpr, MASKED: tl.constexpr,
):
    """What one key tile adds to the gradient by a query tile (without the scale)."""
    first_j = tile.to(tl.int64) * BLOCK_KV
    k = _load(k_ptr + first_j * G * K, G * K, T - first_j, K, BLOCK_KV, BLOCK_K, MASKED)
    v = _load(v_ptr + first_j * G * V, G * V, T - first_j, V, BLOCK_KV, BLOCK_V, MASKED)
    i = first_i + tl.arange(0, BLOCK_Q)[:, None]
    j = tile * BLOCK_KV + tl.arange(0, BLOCK_KV)[None, :]
    scores = tl.dot(q, tl.trans(k), input_precision="ieee") * scale
    p = tl.exp2(_score_mod(scores, _distance(i, j), head, heads) * 1.4426950408889634 - lse[:, None])
    d_scores = p * (tl.dot(d_o, tl.trans(v), input_precision="ieee") - delta[:, None])
    d_scores *= _score_mod_grad(scores, _distance(i, j), head, heads)
    if MASKED:
        d_scores = tl.where(_visible(i, j, T, window), d_scores, 0.0)
    return tl.dot(d_scores.to(q.dtype), k, d_q, input_precision="ieee")


@triton.jit
def _query_grad_kernel(
    q_ptr,  # (B, T, H, K)
    k_ptr,  # (B, T, G, K)
    v_ptr,  # (B, T, G, V)
    lse_ptr,  # (B, H, T)
    delta_ptr,  # (B, H, T)
    d_o_ptr,  # (B, T, H, V)
    d_q_ptr,  # (B, T, H, K), out
    scale,
    T,
    H,
    G,
    BH,
    window,
    K: tl.constexpr, V: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_KV: tl.constexpr,
    BLOCK_K: tl.constexpr, BLOCK_V: tl.constexpr,
):
    """Grid (query tiles * B * H,): the gradient by one tile of queries."""
    i_bh = (tl.program_id(0) % BH).to(tl.int64)
    first_i = (tl.cdiv(T, BLOCK_Q) - 1 - tl.program_id(0) // BH) * BLOCK_Q
    i_h = i_bh % H
    head = i_h.to(tl.float32)
    heads = H * 1.0
    row = (i_bh // H) * T + first_i
    group = (i_bh // H) * T * G + i_h // (H // G)
    q = _load(q_ptr + (row * H + i_h) * K, H * K, T - first_i, K, BLOCK_Q, BLOCK_K, True)
    d_o = _load(d_o_ptr + (row * H + i_h) * V, H * V, T - first_i, V, BLOCK_Q, BLOCK_V, True)
    rows = tl.arange(0, BLOCK_Q)
    lse = tl.load(lse_ptr + i_bh * T + first_i + rows, mask=rows < T - first_i, other=0.0)
    delta = tl.load(delta_ptr + i_bh * T + first_i + rows, mask=rows < T - first_i, other=0.0)
    k_ptr += group * K
    v_ptr += group * V
    d_q = tl.zeros((BLOCK_Q, BLOCK_K), tl.float32)
    start, full, full_stop, stop = _key_tiles(first_i, T, window, BLOCK_Q, BLOCK_KV)
    for step in range(0, stop - start - (full_stop - full)):
        d_q = _query_grad(
            q, d_o, lse, delta, d_q, k_ptr, v_ptr, first_i, _edge(step, start, full, full_stop),
            T, G, head, heads, scale, window, K, V, BLOCK_Q, BLOCK_KV, BLOCK_K, BLOCK_V, True,
        )
    for tile in range(full, full_stop):
        d_q = _query_grad(
            q, d_o, lse, delta, d_q, k_ptr, v_ptr, first_i, tile,
            T, G, head, heads, scale, window, K, V, BLOCK_Q, BLOCK_KV, BLOCK_K, BLOCK_V, False,
        )
    d_q_ptr += (row * H + i_h) * K
    mask = _inside(T - first_i, K, BLOCK_Q, BLOCK_K)
    tl.store(d_q_ptr + _offsets(H * K, BLOCK_Q, BLOCK_K), (d_q * scale).to(q.dtype), mask=mask)


@triton.jit
def _key_grad(
    k, v, d_k, d_v, q_ptr, lse_ptr, delta_ptr, d_o_ptr, first_j, tile, T, H, head, heads, scale, window,
    K: tl.constexpr, V: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_KV: tl.constexpr,
    BLOCK_K: tl.constexpr, BLOCK_V: tl.constexpr, MASKED: tl.constexpr,
):
    """What one query tile of one head adds to the gradients by a key tile; scores are (keys, queries)."""
    first_i = tile.to(tl.int64) * BLOCK_Q
    q = _load(q_ptr + first_i * H * K, H * K, T - first_i, K, BLOCK_Q, BLOCK_K, MASKED)
    d_o = _load(d_o_ptr + first_i * H * V, H * V, T - first_i, V, BLOCK_Q, BLOCK_V, MASKED)
    rows = tl.arange(0, BLOCK_Q)
    if MASKED:
        lse = tl.load(lse_ptr + first_i + rows, mask=rows < T - first_i, other=0.0)
        delta = tl.load(delta_ptr + first_i + rows, mask=rows < T - first_i, other=0.0)
    else:
        lse = tl.load(lse_ptr + first_i + rows)
        delta = tl.load(delta_ptr + first_i + rows)
    i = tile * BLOCK_Q + rows[None, :]
    j = first_j + tl.arange(0, BLOCK_KV)[:, None]
    scores = tl.dot(k, tl.trans(q), input_precision="ieee") * scale
    p = tl.exp2(_score_mod(scores, _distance(i, j), head, heads) * 1.4426950408889634 - lse[None, :])
    if MASKED:
        p = tl.where(_visible(i, j, T, window), p, 0.0)
    d_v = tl.dot(p.to(d_o.dtype), d_o, d_v, input_precision="ieee")
    d_scores = p * (tl.dot(v, tl.trans(d_o), input_precision="ieee") - delta[None, :])
    d_scores *= _score_mod_grad(scores, _distance(i, j), head, heads)
    if MASKED:  # a derivative that is not finite at padding must not meet a zero
        d_scores = tl.where(_visible(i, j, T, window), d_scores, 0.0)
    return tl.dot(d_scores.to(q.dtype), q, d_k, input_precision="ieee"), d_v


@triton.jit
def _key_grad_kernel(
    q_ptr,  # (B, T, H, K)
    k_ptr,  # (B, T, G, K)
    v_ptr,  # (B, T, G, V)
    lse_ptr,  # (B, H, T)
    delta_ptr,  # (B, H, T)
    d_o_ptr,  # (B, T, H, V)
    d_k_ptr,  # (B, T, G, K), out
    d_v_ptr,  # (B, T, G, V), out
    scale,
    T,
    H,
    G,
    BG,
    window,
    K: tl.constexpr, V: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_KV: tl.constexpr,
    BLOCK_K: tl.constexpr, BLOCK_V: tl.constexpr,
):
    """Grid (key tiles * B * G,): gradients by a tile of keys and values, from all heads of their group."""
    i_bg = (tl.program_id(0) % BG).to(tl.int64)
    first_j = (tl.program_id(0) // BG) * BLOCK_KV
    i_b = i_bg // G
    i_g = i_bg % G
    heads = H * 1.0
    count = T - first_j
    row = (i_b * T + first_j) * G + i_g
    k = _load(k_ptr + row * K, G * K, count, K, BLOCK_KV, BLOCK_K, True)
    v = _load(v_ptr + row * V, G * V, count, V, BLOCK_KV, BLOCK_V, True)
    d_k = tl.zeros((BLOCK_KV, BLOCK_K), tl.float32)
    d_v = tl.zeros((BLOCK_KV, BLOCK_V), tl.float32)
    start, full, full_stop, stop = _query_tiles(first_j, T, window, BLOCK_Q, BLOCK_KV)
    q_ptr += i_b * T * H * K
    d_o_ptr += i_b * T * H * V
    lse_ptr += i_b * H * T
    delta_ptr += i_b * H * T
    first_h = i_g * (H // G)
    edges = stop - start - (full_stop - full)
    for step in range(0, (H // G) * edges):
        i_h = first_h + step // edges
        tile = _edge(step % edges, start, full, full_stop)
        d_k, d_v = _key_grad(
            k, v, d_k, d_v, q_ptr + i_h * K, lse_ptr + i_h * T, delta_ptr + i_h * T, d_o_ptr + i_h * V,
            first_j, tile, T, H, i_h.to(tl.float32), heads, scale, window,
            K, V, BLOCK_Q, BLOCK_KV, BLOCK_K, BLOCK_V, True,
        )
    for step in range(0, (H // G) * (full_stop - full)):
        i_h = first_h + step // (full_stop - full)
        tile = full + step % (full_stop - full)
        d_k, d_v = _key_grad(
            k, v, d_k, d_v, q_ptr + i_h * K, lse_ptr + i_h * T, delta_ptr + i_h * T, d_o_ptr + i_h * V,
            first_j, tile, T, H, i_h.to(tl.float32), heads, scale, window,
            K, V, BLOCK_Q, BLOCK_KV, BLOCK_K, BLOCK_V, False,
        )
    mask = _inside(count, V, BLOCK_KV, BLOCK_V)
    tl.store(d_v_ptr + row * V + _offsets(G * V, BLOCK_KV, BLOCK_V), d_v.to(v.dtype), mask=mask)
    mask = _inside(count, K, BLOCK_KV, BLOCK_K)
    tl.store(d_k_ptr + row * K + _offsets(G * K, BLOCK_KV, BLOCK_K), (d_k * scale).to(k.dtype), mask=mask)


def _block(size: int) -> int:
    """Tile width for a head size: a power of two that a dot accepts."""
    return max(16, triton.next_power_of_2(size))


def _rows(size: int, x: torch.Tensor) -> int:
    """Rows of a tile: half in float32, whose products use no tensor cores and hold operands in registers."""
    return max(16, size * 2 // max(2, x.dtype.itemsize))


def forward(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    *,
    state: tuple[torch.Tensor, ...],
    tuning: dict[str, int],
) -> tuple[torch.Tensor, tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]:
    """Output (B, T, H, V), no state, and the residuals of `backward`; arguments as in `reference`."""
    B, T, H, K = q.shape
    G, V = v.shape[2], v.shape[3]
    block_q, block_kv = _rows(tuning["BLOCK_Q"], q), _rows(tuning["BLOCK_KV"], q)
    q, k, v = q.contiguous(), k.contiguous(), v.contiguous()
    output = torch.empty((B, T, H, V), dtype=v.dtype, device=q.device)
    low = torch.empty_like(output)
    lse = torch.empty((B, H, T), dtype=torch.float32, device=q.device)
    _forward_kernel[(triton.cdiv(T, block_q) * B * H,)](
        q, k, v, output, low, lse, _scale(K), T, H, G, B * H, _reach(T),
        K=K, V=V, BLOCK_Q=block_q, BLOCK_KV=block_kv, BLOCK_K=_block(K), BLOCK_V=_block(V),
        num_warps=tuning["num_warps"], num_stages=tuning["num_stages"],
    )
    return output, (), (q, k, v, output, low, lse)


def backward(
    residuals: tuple[torch.Tensor, ...],
    d_output: torch.Tensor,
    d_state: tuple[torch.Tensor, ...],
    *,
    needs: tuple[bool, ...],
    tuning: dict[str, int],
) -> tuple[torch.Tensor | None, ...]:
    """Gradients by q, k and v from that by the output (B, T, H, V)."""
    q, k, v, output, low, lse = residuals
    B, T, H, K = q.shape
    G, V = v.shape[2], v.shape[3]
    block_q, block_kv = _rows(tuning["BLOCK_Q"], q), _rows(tuning["BLOCK_KV"], q)
    # Two accumulators over keys beside the scores: large heads leave registers for fewer queries.
    fewer_q = max(16, block_q // 2) if max(K, V) > 64 else block_q
    d_output = d_output.contiguous()
    d_q, d_k, d_v = None, None, None
    if not any(needs):
        return d_q, d_k, d_v
    delta = torch.empty_like(lse)
    _delta_kernel[(triton.cdiv(T, block_q) * B * H,)](
        output, low, d_output, delta, T, H, B * H, V=V, BLOCK_Q=block_q, BLOCK_V=_block(V),
        num_warps=tuning["num_warps"], num_stages=1,
    )
    if needs[0]:
        d_q = torch.empty_like(q)
        _query_grad_kernel[(triton.cdiv(T, block_q) * B * H,)](
            q, k, v, lse, delta, d_output, d_q, _scale(K), T, H, G, B * H, _reach(T),
            K=K, V=V, BLOCK_Q=block_q, BLOCK_KV=block_kv, BLOCK_K=_block(K), BLOCK_V=_block(V),
            num_warps=tuning["num_warps"], num_stages=tuning["num_stages"],
        )
    if needs[1] or needs[2]:
        d_k, d_v = torch.empty_like(k), torch.empty_like(v)
        _key_grad_kernel[(triton.cdiv(T, block_kv) * B * G,)](
            q, k, v, lse, delta, d_output, d_k, d_v, _scale(K), T, H, G, B * G, _reach(T),
            K=K, V=V, BLOCK_Q=fewer_q, BLOCK_KV=block_kv, BLOCK_K=_block(K), BLOCK_V=_block(V),
            num_warps=tuning["num_warps"], num_stages=tuning["num_stages"],
        )
    return d_q, d_k, d_v
