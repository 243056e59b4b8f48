"""Causal softmax attention whose scores fade by the gates of the tokens between query and key.

    o_i = sum_j p_ij v_j,    p_ij = softmax_j(scale * q_i . k_j + g_{j+1} + ... + g_i)

over i - window < j <= i.

Cost: O(T window (K + V)) time in tiles, O(T) memory beside inputs and output, one number per pair of tiles.
Source: Lin et al. 2025, "Forgetting Transformer: Softmax Attention with a Forget Gate" (arXiv:2503.02130),
section 3; tiles and backward pass: Dao 2023, "FlashAttention-2" (arXiv:2307.08691). The gradient by the gates
is derived in `templates/softmax_attention/notes.md`.
"""

import torch
import triton
import triton.language as tl

SPEC = {
    "contract": 1,
    "template": "softmax_attention/v1/gated",
    "causal": True,
    "slots": {
        "scale": ["_scale"],
        "window": ["_window"],
    },
    "inputs": {"q": "B T H K", "k": "B T G K", "v": "B T G V", "g": "B T H : log_decay, float32"},
    "params": {},
    "dims": {"H": "G*R", "G": "1..64", "R": "1..64"},
    "constants": {},
    "output": "B T H V",
    "state": {},
}
TUNING = [
    {"BLOCK": 64, "num_warps": 4, "num_stages": 2},
    {"BLOCK": 64, "num_warps": 8, "num_stages": 2},
    {"BLOCK": 32, "num_warps": 4, "num_stages": 2},
]


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
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, g: torch.Tensor, *, state: tuple[torch.Tensor, ...]
) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    """The definition, every pair of tokens at once.

    q (B, T, H, K), k (B, T, G, K), v (B, T, G, V) with H = G * R; head h reads group h // R; g (B, T, H)
    natural-log decay <= 0; state ().
    Returns the output (B, T, H, V) and ().
    """
    B, T, H, K = q.shape
    G = k.shape[2]
    grouped = q.reshape(B, T, G, H // G, K)
    positions = torch.arange(T, device=q.device)
    distance = positions[:, None] - positions[None, :]
    gates = g.transpose(1, 2).reshape(B, G, H // G, T, 1)
    fade = torch.where(distance > 0, gates, 0.0).cumsum(3)  # (B, G, R, T, T): g over j < t <= i
    scores = torch.einsum("bigrk,bjgk->bgrij", grouped, k) * _scale(K) + fade
    visible = (distance >= 0) & (distance < _reach(T))
    weights = torch.softmax(scores.masked_fill(~visible, float("-inf")), dim=-1)
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
def _visible(i, j, window):
    """Whether token i reads token j; shapes broadcast."""
    return (j <= i) & (i - j < window)


@triton.jit
def _load_gates(g_ptr, H, first, stop, BLOCK: tl.constexpr):
    """Log decays (BLOCK,) of the tokens from `first` on in units of log 2; zero from `stop` on."""
    tokens = first + tl.arange(0, BLOCK)
    return tl.load(g_ptr + tokens.to(tl.int64) * H, mask=tokens < stop, other=0.0) * 1.4426950408889634


@triton.jit
def _to_end(g_ptr, H, first, T, BLOCK: tl.constexpr):
    """g_{j+1} + ... + g_last: the fading from token j to its tile's end; loads the gates a token later."""
    gates = _load_gates(g_ptr, H, first + 1, tl.minimum(first + BLOCK, T), BLOCK)
    return tl.cumsum(gates, 0, reverse=True)


@triton.jit
def _within(gates, BLOCK: tl.constexpr):
    """g_{j+1} + ... + g_i for j <= i, else 0: (BLOCK, BLOCK) of a tile; each segment is summed by itself."""
    i = tl.arange(0, BLOCK)[:, None]
    j = tl.arange(0, BLOCK)[None, :]
    return tl.cumsum(tl.where(i > j, gates[:, None], 0.0), 0)


@triton.jit
def _scores(a, b, fade, i, j, scale, window, MASKED: tl.constexpr):
    """Faded scores of a tile in units of log 2; -inf where nothing is read."""
    scores = tl.dot(a, tl.trans(b), input_precision="ieee") * scale + fade
    if MASKED:
        scores = tl.where(_visible(i, j, window), scores, float("-inf"))
    return scores


@triton.jit
def _attend(
    q, acc, top, total, k_ptr, v_ptr, fade, first_i, first_j, T, G, scale, window,
    K: tl.constexpr, V: tl.constexpr, BLOCK: tl.constexpr,
    BLOCK_K: tl.constexpr, BLOCK_V: tl.constexpr, RAGGED: tl.constexpr, MASKED: tl.constexpr,
):
    """One key tile read by a query tile: `acc`, `top` and `total` go on; `fade` sums the gates between."""
    row = first_j.to(tl.int64) * G
    k = _load(k_ptr + row * K, G * K, T - first_j, K, BLOCK, BLOCK_K, RAGGED)
    v = _load(v_ptr + row * V, G * V, T - first_j, V, BLOCK, BLOCK_V, RAGGED)
    i = first_i + tl.arange(0, BLOCK)[:, None]
    j = first_j + tl.arange(0, BLOCK)[None, :]
    scores = _scores(q, k, fade, i, j, scale, window, MASKED)
    higher = tl.maximum(top, tl.max(scores, 1))
    p = tl.exp2(scores - higher[:, None])
    shrink = tl.exp2(top - higher)
    acc = tl.dot(p.to(v.dtype), v, acc * shrink[:, None], input_precision="ieee")
    return acc, higher, total * shrink + tl.sum(p, 1)


@triton.jit
def _forward_kernel(
    q_ptr,  # (B, T, H, K)
    k_ptr,  # (B, T, G, K)
    v_ptr,  # (B, T, G, V)
    g_ptr,  # (B, T, H)
    o_ptr,  # (B, T, H, V), out
    low_ptr,  # (B, T, H, V), out: what rounding took off o
    lse_ptr,  # (B, H, T), out: log2 of the sum of exponentials of a row
    scale, T, H, G, BH, window,
    WINDOWED: tl.constexpr, K: tl.constexpr, V: tl.constexpr, BLOCK: tl.constexpr,
    BLOCK_K: tl.constexpr, BLOCK_V: tl.constexpr,
):
    """Grid (tiles * B * H,): the output of a tile, which reads its own keys, then those before, outwards."""
    i_bh = (tl.program_id(0) % BH).to(tl.int64)
    tile = tl.cdiv(T, BLOCK) - 1 - tl.program_id(0) // BH
    first_i = tile * BLOCK
    i_h = i_bh % H
    row = ((i_bh // H) * T + first_i) * H + i_h
    group = (i_bh // H) * T * G + i_h // (H // G)
    q = _load(q_ptr + row * K, H * K, T - first_i, K, BLOCK, BLOCK_K, True)
    k_ptr += group * K
    v_ptr += group * V
    g_ptr += (i_bh // H) * T * H + i_h
    gates = _load_gates(g_ptr, H, first_i, T, BLOCK)
    scale_of_exp2 = scale * 1.4426950408889634
    acc = tl.zeros((BLOCK, BLOCK_V), tl.float32)
    total = tl.zeros((BLOCK,), tl.float32)
    top = tl.full((BLOCK,), float("-inf"), tl.float32)
    acc, top, total = _attend(
        q, acc, top, total, k_ptr, v_ptr, _within(gates, BLOCK), first_i, first_i,
        T, G, scale_of_exp2, window, K, V, BLOCK, BLOCK_K, BLOCK_V, True, True,
    )
    since = tl.cumsum(gates, 0)  # the gates from the end of the key tile to each query
    for step in range(0, tile - tl.maximum(first_i - window + 1, 0) // BLOCK):
        first_j = (tile - 1 - step) * BLOCK
        fade = since[:, None] + _to_end(g_ptr, H, first_j, T, BLOCK)[None, :]
        acc, top, total = _attend(
            q, acc, top, total, k_ptr, v_ptr, fade, first_i, first_j,
            T, G, scale_of_exp2, window, K, V, BLOCK, BLOCK_K, BLOCK_V, False, WINDOWED,
        )
        since += tl.sum(_load_gates(g_ptr, H, first_j, T, BLOCK), 0)
    offsets = row * V + _offsets(H * V, BLOCK, BLOCK_V)
    mask = _inside(T - first_i, V, BLOCK, BLOCK_V)
    acc /= total[:, None]
    o = acc.to(q.dtype)
    tl.store(o_ptr + offsets, o, mask=mask)
    tl.store(low_ptr + offsets, (acc - o.to(tl.float32)).to(q.dtype), mask=mask)
    rows = tl.arange(0, BLOCK)
    tl.store(lse_ptr + i_bh * T + first_i + rows, top + tl.log2(total), mask=rows < T - first_i)


@triton.jit
def _delta_kernel(
    o_ptr,  # (B, T, H, V)
    low_ptr,  # (B, T, H, V)
    d_o_ptr,  # (B, T, H, V)
    delta_ptr,  # (B, H, T), out: <o, d_o>
    T, H, BH, V: tl.constexpr, BLOCK: tl.constexpr, BLOCK_V: tl.constexpr,
):
    """Grid (tiles * B * H,): what the normalisation of a row takes off every gradient in it.

    Where one key takes all, <d_o, v> and delta cancel, and the rounding of o would be all that is left.
    """
    i_bh = (tl.program_id(0) % BH).to(tl.int64)
    first_i = (tl.program_id(0) // BH) * BLOCK
    at = (((i_bh // H) * T + first_i) * H + i_bh % H) * V
    o = _load(o_ptr + at, H * V, T - first_i, V, BLOCK, BLOCK_V, True)
    low = _load(low_ptr + at, H * V, T - first_i, V, BLOCK, BLOCK_V, True)
    d_o = _load(d_o_ptr + at, H * V, T - first_i, V, BLOCK, BLOCK_V, True)
    rows = tl.arange(0, BLOCK)
    delta = tl.sum((o.to(tl.float32) + low.to(tl.float32)) * d_o.to(tl.float32), 1)
    tl.store(delta_ptr + i_bh * T + first_i + rows, delta, mask=rows < T - first_i)


@triton.jit
def _query_grad(
    q, d_o, lse, delta, d_q, k_ptr, v_ptr, fade, first_i, first_j, T, G, scale, window,
    K: tl.constexpr, V: tl.constexpr, BLOCK: tl.constexpr,
    BLOCK_K: tl.constexpr, BLOCK_V: tl.constexpr, RAGGED: tl.constexpr, MASKED: tl.constexpr,
):
    """What one key tile adds to the gradient by a query tile (without the scale), and d_scores (i, j)."""
    row = first_j.to(tl.int64) * G
    k = _load(k_ptr + row * K, G * K, T - first_j, K, BLOCK, BLOCK_K, RAGGED)
    v = _load(v_ptr + row * V, G * V, T - first_j, V, BLOCK, BLOCK_V, RAGGED)
    i = first_i + tl.arange(0, BLOCK)[:, None]
    j = first_j + tl.arange(0, BLOCK)[None, :]
    p = tl.exp2(_scores(q, k, fade, i, j, scale, window, MASKED) - lse[:, None])
    d_scores = p * (tl.dot(d_o, tl.trans(v), input_precision="ieee") - delta[:, None])
    return tl.dot(d_scores.to(q.dtype), k, d_q, input_precision="ieee"), d_scores


@triton.jit
def _query_grad_kernel(
    q_ptr,  # (B, T, H, K)
    k_ptr,  # (B, T, G, K)
    v_ptr,  # (B, T, G, V)
    g_ptr,  # (B, T, H)
    lse_ptr,  # (B, H, T)
    delta_ptr,  # (B, H, T)
    d_o_ptr,  # (B, T, H, V)
    d_q_ptr,  # (B, T, H, K), out
    arriving_ptr,  # (B, H, T), out: by the gates: what is read in their own tile
    sums_ptr,  # (B, H, tiles, tiles), out: d_scores summed over a query tile and an earlier key tile
    scale, T, H, G, BH, window,
    WINDOWED: tl.constexpr, K: tl.constexpr, V: tl.constexpr, BLOCK: tl.constexpr,
    BLOCK_K: tl.constexpr, BLOCK_V: tl.constexpr,
):
    """Grid (tiles * B * H,): the gradient by one tile of queries, in the order of `_forward_kernel`."""
    i_bh = (tl.program_id(0) % BH).to(tl.int64)
    tiles = tl.cdiv(T, BLOCK)
    tile = tiles - 1 - tl.program_id(0) // BH
    first_i = tile * BLOCK
    i_h = i_bh % H
    row = ((i_bh // H) * T + first_i) * H + i_h
    group = (i_bh // H) * T * G + i_h // (H // G)
    q = _load(q_ptr + row * K, H * K, T - first_i, K, BLOCK, BLOCK_K, True)
    d_o = _load(d_o_ptr + row * V, H * V, T - first_i, V, BLOCK, BLOCK_V, True)
    rows = tl.arange(0, BLOCK)
    lse = tl.load(lse_ptr + i_bh * T + first_i + rows, mask=rows < T - first_i, other=0.0)
    delta = tl.load(delta_ptr + i_bh * T + first_i + rows, mask=rows < T - first_i, other=0.0)
    k_ptr += group * K
    v_ptr += group * V
    g_ptr += (i_bh // H) * T * H + i_h
    sums_ptr += (i_bh * tiles + tile) * tiles
    gates = _load_gates(g_ptr, H, first_i, T, BLOCK)
    scale_of_exp2 = scale * 1.4426950408889634
    d_q, d_scores = _query_grad(
        q, d_o, lse, delta, tl.zeros((BLOCK, BLOCK_K), tl.float32), k_ptr, v_ptr, _within(gates, BLOCK),
        first_i, first_i, T, G, scale_of_exp2, window, K, V, BLOCK, BLOCK_K, BLOCK_V, True, True,
    )
    inner = tl.cumsum(d_scores, 0, reverse=True)  # (t, j): readers i >= t of key j
    d_g = tl.sum(tl.where(rows[:, None] > rows[None, :], inner, 0.0), 1)
    arriving = tl.zeros((BLOCK,), tl.float32)
    since = tl.cumsum(gates, 0)
    for step in range(0, tile - tl.maximum(first_i - window + 1, 0) // BLOCK):
        first_j = (tile - 1 - step) * BLOCK
        fade = since[:, None] + _to_end(g_ptr, H, first_j, T, BLOCK)[None, :]
        d_q, d_scores = _query_grad(
            q, d_o, lse, delta, d_q, k_ptr, v_ptr, fade, first_i, first_j,
            T, G, scale_of_exp2, window, K, V, BLOCK, BLOCK_K, BLOCK_V, False, WINDOWED,
        )
        read = tl.sum(d_scores, 1)
        arriving += read
        tl.store(sums_ptr + tile - 1 - step, tl.sum(read, 0))
        since += tl.sum(_load_gates(g_ptr, H, first_j, T, BLOCK), 0)
    d_g += tl.cumsum(arriving, 0, reverse=True)
    tl.store(arriving_ptr + i_bh * T + first_i + rows, d_g, mask=rows < T - first_i)
    mask = _inside(T - first_i, K, BLOCK, BLOCK_K)
    tl.store(d_q_ptr + row * K + _offsets(H * K, BLOCK, BLOCK_K), (d_q * scale).to(q.dtype), mask=mask)


@triton.jit
def _key_grad(
    k, v, d_k, d_v, q_ptr, lse_ptr, delta_ptr, d_o_ptr, fade, first_i, first_j, T, H, scale, window,
    K: tl.constexpr, V: tl.constexpr, BLOCK: tl.constexpr,
    BLOCK_K: tl.constexpr, BLOCK_V: tl.constexpr, MASKED: tl.constexpr,
):
    """What a query tile adds to the gradients by a key tile, and d_scores (j, i) summed over the queries."""
    row = first_i.to(tl.int64) * H
    q = _load(q_ptr + row * K, H * K, T - first_i, K, BLOCK, BLOCK_K, True)
    d_o = _load(d_o_ptr + row * V, H * V, T - first_i, V, BLOCK, BLOCK_V, True)
    rows = tl.arange(0, BLOCK)
    lse = tl.load(lse_ptr + first_i + rows, mask=rows < T - first_i, other=0.0)
    delta = tl.load(delta_ptr + first_i + rows, mask=rows < T - first_i, other=0.0)
    i = first_i + rows[None, :]
    j = first_j + rows[:, None]
    p = tl.exp2(_scores(k, q, fade, i, j, scale, window, MASKED) - lse[None, :])
    d_v = tl.dot(p.to(d_o.dtype), d_o, d_v, input_precision="ieee")
    d_scores = p * (tl.dot(v, tl.trans(d_o), input_precision="ieee") - delta[None, :])
    return tl.dot(d_scores.to(q.dtype), q, d_k, input_precision="ieee"), d_v, tl.sum(d_scores, 1)


@triton.jit
def _key_grad_kernel(
    q_ptr,  # (B, T, H, K)
    k_ptr,  # (B, T, G, K)
    v_ptr,  # (B, T, G, V)
    g_ptr,  # (B, T, H)
    lse_ptr,  # (B, H, T)
    delta_ptr,  # (B, H, T)
    d_o_ptr,  # (B, T, H, V)
    d_k_ptr,  # (B, T, G, K), out
    d_v_ptr,  # (B, T, G, V), out
    leaving_ptr,  # (B, H, T), out where there are later tiles: d_scores (i, j) summed over them
    scale, T, H, G, BG, window,
    WINDOWED: tl.constexpr, K: tl.constexpr, V: tl.constexpr, BLOCK: tl.constexpr,
    BLOCK_K: tl.constexpr, BLOCK_V: tl.constexpr,
):
    """Grid (tiles * B * G,): gradients by a tile of keys and values, from all heads of their group."""
    i_bg = (tl.program_id(0) % BG).to(tl.int64)
    tile = tl.program_id(0) // BG
    first_j = tile * BLOCK
    i_b = i_bg // G
    i_g = i_bg % G
    row = (i_b * T + first_j) * G + i_g
    k = _load(k_ptr + row * K, G * K, T - first_j, K, BLOCK, BLOCK_K, True)
    v = _load(v_ptr + row * V, G * V, T - first_j, V, BLOCK, BLOCK_V, True)
    rows = tl.arange(0, BLOCK)
    scale_of_exp2 = scale * 1.4426950408889634
    d_k = tl.zeros((BLOCK, BLOCK_K), tl.float32)
    d_v = tl.zeros((BLOCK, BLOCK_V), tl.float32)
    q_ptr += i_b * T * H * K
    d_o_ptr += i_b * T * H * V
    g_ptr += i_b * T * H
    lse_ptr += i_b * H * T
    delta_ptr += i_b * H * T
    leaving_ptr += i_b * H * T + first_j
    first_h = i_g * (H // G)
    for i_h in range(first_h, first_h + H // G):
        fade = tl.trans(_within(_load_gates(g_ptr + i_h, H, first_j, T, BLOCK), BLOCK))
        d_k, d_v, _ = _key_grad(
            k, v, d_k, d_v, q_ptr + i_h * K, lse_ptr + i_h * T, delta_ptr + i_h * T, d_o_ptr + i_h * V, fade,
            first_j, first_j, T, H, scale_of_exp2, window, K, V, BLOCK, BLOCK_K, BLOCK_V, True,
        )
    # One loop over heads and later tiles: nested ones would need more registers than there are.
    readers = tl.cdiv(tl.minimum(first_j + BLOCK + window - 1, T), BLOCK) - tile - 1
    gap = tl.zeros((BLOCK,), tl.float32)  # the gates between the key tile and the query tile
    left = tl.zeros((BLOCK,), tl.float32)
    for step in range(0, (H // G) * readers):
        i_h = first_h + step // readers
        first_i = (tile + 1 + step % readers) * BLOCK
        gap = tl.where(step % readers == 0, 0.0, gap)
        gates = _load_gates(g_ptr + i_h, H, first_i, T, BLOCK)
        until = gap + _to_end(g_ptr + i_h, H, first_j, T, BLOCK)
        fade = until[:, None] + tl.cumsum(gates, 0)[None, :]
        d_k, d_v, read = _key_grad(
            k, v, d_k, d_v, q_ptr + i_h * K, lse_ptr + i_h * T, delta_ptr + i_h * T, d_o_ptr + i_h * V, fade,
            first_i, first_j, T, H, scale_of_exp2, window, K, V, BLOCK, BLOCK_K, BLOCK_V, WINDOWED,
        )
        left = tl.where(step % readers == 0, 0.0, left) + read
        last = (rows < T - first_j) & (step % readers == readers - 1)
        tl.store(leaving_ptr + i_h * T + rows, left, mask=last)
        gap += tl.sum(gates, 0)
    mask = _inside(T - first_j, V, BLOCK, BLOCK_V)
    tl.store(d_v_ptr + row * V + _offsets(G * V, BLOCK, BLOCK_V), d_v.to(v.dtype), mask=mask)
    mask = _inside(T - first_j, K, BLOCK, BLOCK_K)
    tl.store(d_k_ptr + row * K + _offsets(G * K, BLOCK, BLOCK_K), (d_k * scale).to(k.dtype), mask=mask)


@triton.jit
def _gate_grad_kernel(
    arriving_ptr,  # (B, H, T)
    leaving_ptr,  # (B, H, T)
    sums_ptr,  # (B, H, tiles, tiles)
    d_g_ptr,  # (B, T, H), out
    T, H, BH, BLOCK: tl.constexpr, SUMS: tl.constexpr,
):
    """Grid (tiles * B * H,): d_scores of all i >= t > j: what begins or ends in t's tile, and what passes."""
    i_bh = (tl.program_id(0) % BH).to(tl.int64)
    tile = tl.program_id(0) // BH
    tiles = tl.cdiv(T, BLOCK)
    passing = tl.zeros((SUMS, SUMS), tl.float32)
    for later in range(tile + 1, tiles, SUMS):
        for earlier in range(0, tile, SUMS):
            i = later + tl.arange(0, SUMS)[:, None]
            j = earlier + tl.arange(0, SUMS)[None, :]
            at = (i_bh * tiles + i) * tiles + j
            passing += tl.load(sums_ptr + at, mask=(i < tiles) & (j < tile), other=0.0)
    tokens = tile * BLOCK + tl.arange(0, BLOCK)
    d_g = tl.load(arriving_ptr + i_bh * T + tokens, mask=tokens < T, other=0.0)
    left = tl.load(leaving_ptr + i_bh * T + tokens, mask=tokens < T, other=0.0)
    d_g += tl.sum(tl.where(tokens[:, None] > tokens[None, :], left[None, :], 0.0), 1)
    d_g += tl.sum(tl.sum(passing, 1), 0)
    tl.store(d_g_ptr + ((i_bh // H) * T + tokens) * H + i_bh % H, d_g, mask=tokens < T)


def _block(size: int) -> int:
    """Tile width for a head size: a power of two that a dot accepts."""
    return max(16, triton.next_power_of_2(size))


def _rows(size: int, x: torch.Tensor) -> int:
    """Rows of a tile: half in float32, whose products use no tensor cores and hold operands in registers."""
    return max(16, size * 2 // max(2, x.dtype.itemsize))


def forward(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, g: torch.Tensor,
    *, state: tuple[torch.Tensor, ...], tuning: dict[str, int],
) -> tuple[torch.Tensor, tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]:
    """Output (B, T, H, V), no state, and the residuals of `backward`; arguments as in `reference`."""
    B, T, H, K = q.shape
    G, V = v.shape[2], v.shape[3]
    block = _rows(tuning["BLOCK"], q)
    q, k, v, g = q.contiguous(), k.contiguous(), v.contiguous(), g.contiguous()
    output = torch.empty((B, T, H, V), dtype=v.dtype, device=q.device)
    low = torch.empty_like(output)
    lse = torch.empty((B, H, T), dtype=torch.float32, device=q.device)
    _forward_kernel[(triton.cdiv(T, block) * B * H,)](
        q, k, v, g, output, low, lse, _scale(K), T, H, G, B * H, _reach(T),
        WINDOWED=_reach(T) < T, K=K, V=V, BLOCK=block, BLOCK_K=_block(K), BLOCK_V=_block(V),
        num_warps=tuning["num_warps"], num_stages=tuning["num_stages"],
    )
    return output, (), (q, k, v, g, output, low, lse)


def backward(
    residuals: tuple[torch.Tensor, ...], d_output: torch.Tensor, d_state: tuple[torch.Tensor, ...],
    *, needs: tuple[bool, ...], tuning: dict[str, int],
) -> tuple[torch.Tensor | None, ...]:
    """Gradients by q, k, v and g from that by the output (B, T, H, V)."""
    q, k, v, g, output, low, lse = residuals
    B, T, H, K = q.shape
    G, V = v.shape[2], v.shape[3]
    # Two accumulators over keys beside the scores: large heads leave registers for a smaller tile.
    block = _rows(tuning["BLOCK"] if max(K, V) <= 64 else tuning["BLOCK"] // 2, q)
    tiles = triton.cdiv(T, block)
    d_output = d_output.contiguous()
    d_q, d_k, d_v, d_g = None, None, None, None
    if not any(needs):
        return d_q, d_k, d_v, d_g
    delta, arriving, leaving = torch.empty_like(lse), torch.empty_like(lse), torch.zeros_like(lse)
    sums = torch.zeros((B, H, tiles, tiles), dtype=torch.float32, device=q.device)
    _delta_kernel[(tiles * B * H,)](
        output, low, d_output, delta, T, H, B * H, V=V, BLOCK=block, BLOCK_V=_block(V),
        num_warps=tuning["num_warps"], num_stages=1,
    )
    if needs[0] or needs[3]:
        d_q = torch.empty_like(q)
        _query_grad_kernel[(tiles * B * H,)](
            q, k, v, g, lse, delta, d_output, d_q, arriving, sums, _scale(K), T, H, G, B * H, _reach(T),
            WINDOWED=_reach(T) < T, K=K, V=V, BLOCK=block, BLOCK_K=_block(K), BLOCK_V=_block(V),
            num_warps=tuning["num_warps"], num_stages=tuning["num_stages"],
        )
    if needs[1] or needs[2] or needs[3]:
        d_k, d_v = torch.empty_like(k), torch.empty_like(v)
        _key_grad_kernel[(tiles * B * G,)](
            q, k, v, g, lse, delta, d_output, d_k, d_v, leaving, _scale(K), T, H, G, B * G, _reach(T),
            WINDOWED=_reach(T) < T, K=K, V=V, BLOCK=block, BLOCK_K=_block(K), BLOCK_V=_block(V),
            num_warps=tuning["num_warps"], num_stages=tuning["num_stages"],
        )
    if needs[3]:
        d_g = torch.empty_like(g)
        _gate_grad_kernel[(tiles * B * H,)](
            arriving, leaving, sums, d_g, T, H, B * H, BLOCK=block, SUMS=32, num_warps=4, num_stages=1
        )
    return d_q, d_k, d_v, d_g
