"""Selective scan: every channel has a diagonal state of its own, stepped by an amount that the token chooses.

    h_t[d, n] = exp(dt_t[d] a[d, n]) h_{t-1}[d, n] + dt_t[d] b_t[n] x_t[d],
    y_t[d] = sum_n c_t[n] h_t[d, n] + skip[d] x_t[d]

Cost: O(T D N) time in chunks, O(D N) state per head. The channels of one head share b and c.
Source: Gu and Dao 2023, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces"
(arXiv:2312.00752), section 3.2 and algorithm 2, with dt B for the discretised B as in its kernels.
"""

import torch
import triton
import triton.language as tl

SPEC = {
    "contract": 1,
    "template": "free",
    "causal": True,
    "inputs": {
        "x": "B T H D",
        "dt": "B T H D : positive, float32",
        "b": "B T H N",
        "c": "B T H N",
    },
    "params": {"a": "H D N : log_decay", "skip": "H D"},
    "dims": {"N": "1..64"},
    "constants": {},
    "output": "B T H D",
    "state": {"h": "B H D N : normal, float32"},
}
TUNING = [
    {"CHUNK": 16, "TILE": 2048, "num_warps": 4},
    {"CHUNK": 16, "TILE": 4096, "num_warps": 8},
    {"CHUNK": 32, "TILE": 2048, "num_warps": 4},
]


def reference(
    x: torch.Tensor,
    dt: torch.Tensor,
    b: torch.Tensor,
    c: torch.Tensor,
    a: torch.Tensor,
    skip: torch.Tensor,
    *,
    state: tuple[torch.Tensor, ...],
) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    """The definition, one token at a time.

    x (B, T, H, D), step sizes dt (B, T, H, D) >= 0, b, c (B, T, H, N), skip (H, D), state (h,) with h
    (B, H, D, N); a (H, D, N) is the natural-log decay <= 0 of a step of size 1. Returns the output
    (B, T, H, D) and the final state.
    """
    (h,) = state
    outputs = []
    for t in range(x.shape[1]):
        decay = torch.exp(dt[:, t, :, :, None] * a)
        h = decay * h + (dt[:, t] * x[:, t])[..., None] * b[:, t, :, None, :]
        outputs.append(torch.einsum("bhdn,bhn->bhd", h, c[:, t]) + skip * x[:, t])
    return torch.stack(outputs, dim=1), (h,)


def parallel(
    x: torch.Tensor,
    dt: torch.Tensor,
    b: torch.Tensor,
    c: torch.Tensor,
    a: torch.Tensor,
    skip: torch.Tensor,
    *,
    state: tuple[torch.Tensor, ...],
) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    """`reference` in chunks of 32 tokens: prefixes by doubling inside a chunk, recurrent between chunks."""
    (h,) = state
    steps, inputs = dt.to(h.dtype), x.to(h.dtype)
    writes, reads = b.to(h.dtype), c.to(h.dtype)
    outputs = []
    for start in range(0, x.shape[1], 32):
        chunk = slice(start, start + 32)
        x_c, dt_c = inputs[:, chunk], steps[:, chunk]
        kept = torch.exp(dt_c[..., None] * a)  # (B, C, H, D, N)
        fresh = (dt_c * x_c)[..., None] * writes[:, chunk, :, None, :]
        for power in range(5):
            step = 2**power  # every row takes in the one `step` before it, which stands for `step` tokens
            grown = fresh[:, step:] + kept[:, step:] * fresh[:, :-step]
            longer = kept[:, step:] * kept[:, :-step]
            fresh = torch.cat([fresh[:, :step], grown], dim=1)
            kept = torch.cat([kept[:, :step], longer], dim=1)
        hidden = fresh + kept * h[:, None]
        outputs.append(torch.einsum("bchdn,bchn->bchd", hidden, reads[:, chunk]) + skip * x_c)
        h = hidden[:, -1]
    return torch.cat(outputs, dim=1).to(x.dtype), (h,)


@triton.jit
def _rows(
    ptr, stride, first, count, first_column, columns, ROWS: tl.constexpr, COLUMNS: tl.constexpr
):
    """Rows first, first + 1, ... of a chunk in float32, (ROWS, COLUMNS), zero outside of its `count` rows.

    `first` is 0, or +-1 to read what belongs to a token's neighbour.
    """
    i = first + tl.arange(0, ROWS)[:, None]
    j = first_column + tl.arange(0, COLUMNS)[None, :]
    mask = (i >= 0) & (i < count) & (j < columns)
    return tl.load(ptr + i * stride + j, mask=mask, other=0.0).to(tl.float32)


@triton.jit
def _store_rows(
    ptr, stride, count, first_column, columns, tile, ROWS: tl.constexpr, COLUMNS: tl.constexpr
):
    """Write a tile (ROWS, COLUMNS) over the chunk's rows, in the dtype of what is there."""
    i = tl.arange(0, ROWS)[:, None]
    j = first_column + tl.arange(0, COLUMNS)[None, :]
    tl.store(ptr + i * stride + j, tile.to(ptr.dtype.element_ty), mask=(i < count) & (j < columns))


@triton.jit
def _state_tile(first_d, D, N, BLOCK_D: tl.constexpr, BLOCK_N: tl.constexpr):
    """Offsets and mask of a (BLOCK_D, BLOCK_N) tile of one head's (D, N)."""
    d = first_d + tl.arange(0, BLOCK_D)[:, None]
    n = tl.arange(0, BLOCK_N)[None, :]
    return d * N + n, (d < D) & (n < N)


@triton.jit
def _then(kept, fresh, next_kept, next_fresh):
    """One span of tokens followed by the next: (what it keeps of a state, what it adds to it)."""
    return kept * next_kept, next_kept * fresh + next_fresh


@triton.jit
def _state_kernel(
    x_ptr,  # (B, T, H, D)
    dt_ptr,  # (B, T, H, D)
    b_ptr,  # (B, T, H, N)
    a_ptr,  # (H, D, N)
    initial_ptr,  # (B, H, D, N)
    states_ptr,  # (B, H, chunks, D, N), out: the state before each chunk
    final_ptr,  # (B, H, D, N), out
    T,
    H,
    D: tl.constexpr,
    N: tl.constexpr,
    CHUNK: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """Grid (B * H, D tiles): one program carries (BLOCK_D, N) of one head's state through all chunks."""
    i_bh = tl.program_id(0).to(tl.int64)
    first_d = tl.program_id(1) * BLOCK_D
    chunks = tl.cdiv(T, CHUNK)
    offsets, mask = _state_tile(first_d, D, N, BLOCK_D, BLOCK_N)
    a = tl.load(a_ptr + (i_bh % H) * D * N + offsets, mask=mask, other=0.0)
    h = tl.load(initial_ptr + i_bh * D * N + offsets, mask=mask, other=0.0)
    for i_c in range(0, chunks):
        tl.store(states_ptr + (i_bh * chunks + i_c) * D * N + offsets, h, mask=mask)
        row = ((i_bh // H) * T + i_c * CHUNK) * H + i_bh % H
        count = tl.minimum(T - i_c * CHUNK, CHUNK)
        x = _rows(x_ptr + row * D, H * D, 0, count, first_d, D, CHUNK, BLOCK_D)
        dt = _rows(dt_ptr + row * D, H * D, 0, count, first_d, D, CHUNK, BLOCK_D)
        later = _rows(dt_ptr + row * D, H * D, 1, count, first_d, D, CHUNK, BLOCK_D)
        b = _rows(b_ptr + row * N, H * N, 0, count, 0, N, CHUNK, BLOCK_N)
        to_end = tl.exp(tl.cumsum(later, 0, reverse=True)[:, :, None] * a[None, :, :])
        added = tl.sum(to_end * (dt * x)[:, :, None] * b[:, None, :], 0)
        h = tl.exp(tl.sum(dt, 0)[:, None] * a) * h + added
    tl.store(final_ptr + i_bh * D * N + offsets, h, mask=mask)


@triton.jit
def _output_kernel(
    x_ptr,  # (B, T, H, D)
    dt_ptr,  # (B, T, H, D)
    b_ptr,  # (B, T, H, N)
    c_ptr,  # (B, T, H, N)
    a_ptr,  # (H, D, N)
    skip_ptr,  # (H, D)
    states_ptr,  # (B, H, chunks, D, N)
    y_ptr,  # (B, T, H, D), out
    T,
    H,
    D: tl.constexpr,
    N: tl.constexpr,
    CHUNK: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """Grid (B * H * chunks, D tiles): outputs of a chunk, from the state before it and its own tokens."""
    i_bhc = tl.program_id(0).to(tl.int64)
    first_d = tl.program_id(1) * BLOCK_D
    chunks = tl.cdiv(T, CHUNK)
    i_bh = i_bhc // chunks
    i_c = i_bhc % chunks
    row = ((i_bh // H) * T + i_c * CHUNK) * H + i_bh % H
    count = tl.minimum(T - i_c * CHUNK, CHUNK)
    offsets, mask = _state_tile(first_d, D, N, BLOCK_D, BLOCK_N)
    d = first_d + tl.arange(0, BLOCK_D)
    a = tl.load(a_ptr + (i_bh % H) * D * N + offsets, mask=mask, other=0.0)
    skip = tl.load(skip_ptr + (i_bh % H) * D + d, mask=d < D, other=0.0)
    h = tl.load(states_ptr + i_bhc * D * N + offsets, mask=mask, other=0.0)
    x = _rows(x_ptr + row * D, H * D, 0, count, first_d, D, CHUNK, BLOCK_D)
    dt = _rows(dt_ptr + row * D, H * D, 0, count, first_d, D, CHUNK, BLOCK_D)
    b = _rows(b_ptr + row * N, H * N, 0, count, 0, N, CHUNK, BLOCK_N)
    c = _rows(c_ptr + row * N, H * N, 0, count, 0, N, CHUNK, BLOCK_N)
    decay = tl.exp(dt[:, :, None] * a[None, :, :])
    kept, fresh = tl.associative_scan((decay, (dt * x)[:, :, None] * b[:, None, :]), 0, _then)
    hidden = fresh + kept * h[None, :, :]
    y = tl.sum(hidden * c[:, None, :], 2) + skip[None, :] * x
    _store_rows(y_ptr + row * D, H * D, count, first_d, D, y, CHUNK, BLOCK_D)


@triton.jit
def _state_grad_kernel(
    dt_ptr,  # (B, T, H, D)
    c_ptr,  # (B, T, H, N)
    a_ptr,  # (H, D, N)
    d_y_ptr,  # (B, T, H, D)
    d_final_ptr,  # (B, H, D, N)
    d_states_ptr,  # (B, H, chunks, D, N), out: gradient by the state after each chunk
    d_initial_ptr,  # (B, H, D, N), out
    T,
    H,
    D: tl.constexpr,
    N: tl.constexpr,
    CHUNK: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """Grid (B * H, D tiles): `_state_kernel` backwards, from the last chunk to the first."""
    i_bh = tl.program_id(0).to(tl.int64)
    first_d = tl.program_id(1) * BLOCK_D
    chunks = tl.cdiv(T, CHUNK)
    offsets, mask = _state_tile(first_d, D, N, BLOCK_D, BLOCK_N)
    a = tl.load(a_ptr + (i_bh % H) * D * N + offsets, mask=mask, other=0.0)
    d_h = tl.load(d_final_ptr + i_bh * D * N + offsets, mask=mask, other=0.0)
    for step in range(0, chunks):
        i_c = chunks - 1 - step
        tl.store(d_states_ptr + (i_bh * chunks + i_c) * D * N + offsets, d_h, mask=mask)
        row = ((i_bh // H) * T + i_c * CHUNK) * H + i_bh % H
        count = tl.minimum(T - i_c * CHUNK, CHUNK)
        d_y = _rows(d_y_ptr + row * D, H * D, 0, count, first_d, D, CHUNK, BLOCK_D)
        dt = _rows(dt_ptr + row * D, H * D, 0, count, first_d, D, CHUNK, BLOCK_D)
        c = _rows(c_ptr + row * N, H * N, 0, count, 0, N, CHUNK, BLOCK_N)
        from_start = tl.exp(tl.cumsum(dt, 0)[:, :, None] * a[None, :, :])
        read = tl.sum(from_start * d_y[:, :, None] * c[:, None, :], 0)
        d_h = tl.exp(tl.sum(dt, 0)[:, None] * a) * d_h + read
    tl.store(d_initial_ptr + i_bh * D * N + offsets, d_h, mask=mask)


@triton.jit
def _input_grad_kernel(
    x_ptr,  # (B, T, H, D)
    dt_ptr,  # (B, T, H, D)
    b_ptr,  # (B, T, H, N)
    c_ptr,  # (B, T, H, N)
    a_ptr,  # (H, D, N)
    skip_ptr,  # (H, D)
    d_y_ptr,  # (B, T, H, D)
    states_ptr,  # (B, H, chunks, D, N): the state before each chunk
    d_states_ptr,  # (B, H, chunks, D, N): gradient by the state after each chunk
    d_x_ptr,  # (B, T, H, D), out
    d_dt_ptr,  # (B, T, H, D), out
    d_b_ptr,  # (B, T, H, N), out
    d_c_ptr,  # (B, T, H, N), out
    a_parts_ptr,  # (B, chunks, H, D, N), out: each chunk's part of d_a
    skip_parts_ptr,  # (B, chunks, H, D), out: each chunk's part of d_skip
    T,
    H,
    D: tl.constexpr,
    N: tl.constexpr,
    CHUNK: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """Grid (B * H * chunks,): all gradients of one chunk's tokens, channels tile by tile."""
    i_bhc = tl.program_id(0).to(tl.int64)
    chunks = tl.cdiv(T, CHUNK)
    i_bh = i_bhc // chunks
    i_c = i_bhc % chunks
    i_h = i_bh % H
    part = ((i_bh // H) * chunks + i_c) * H + i_h
    row = ((i_bh // H) * T + i_c * CHUNK) * H + i_h
    count = tl.minimum(T - i_c * CHUNK, CHUNK)
    b = _rows(b_ptr + row * N, H * N, 0, count, 0, N, CHUNK, BLOCK_N)
    b_before = _rows(b_ptr + row * N, H * N, -1, count, 0, N, CHUNK, BLOCK_N)
    c = _rows(c_ptr + row * N, H * N, 0, count, 0, N, CHUNK, BLOCK_N)
    d_b = tl.zeros((CHUNK, BLOCK_N), tl.float32)
    d_c = tl.zeros((CHUNK, BLOCK_N), tl.float32)
    for first_d in range(0, D, BLOCK_D):
        offsets, mask = _state_tile(first_d, D, N, BLOCK_D, BLOCK_N)
        d = first_d + tl.arange(0, BLOCK_D)
        a = tl.load(a_ptr + i_h * D * N + offsets, mask=mask, other=0.0)
        skip = tl.load(skip_ptr + i_h * D + d, mask=d < D, other=0.0)
        h = tl.load(states_ptr + i_bhc * D * N + offsets, mask=mask, other=0.0)
        d_h = tl.load(d_states_ptr + i_bhc * D * N + offsets, mask=mask, other=0.0)
        x = _rows(x_ptr + row * D, H * D, 0, count, first_d, D, CHUNK, BLOCK_D)
        dt = _rows(dt_ptr + row * D, H * D, 0, count, first_d, D, CHUNK, BLOCK_D)
        d_y = _rows(d_y_ptr + row * D, H * D, 0, count, first_d, D, CHUNK, BLOCK_D)

        # The state before each token, from rows one earlier: the state after it minus the write would cost
        # the digits of a state that a strong decay has made small beside the write.
        dt_before = _rows(dt_ptr + row * D, H * D, -1, count, first_d, D, CHUNK, BLOCK_D)
        x_before = _rows(x_ptr + row * D, H * D, -1, count, first_d, D, CHUNK, BLOCK_D)
        decay = tl.exp(dt_before[:, :, None] * a[None, :, :])
        write = (dt_before * x_before)[:, :, None] * b_before[:, None, :]
        kept, fresh = tl.associative_scan((decay, write), 0, _then)
        carried = (fresh + kept * h[None, :, :]) * tl.exp(dt[:, :, None] * a[None, :, :])
        hidden = carried + (dt * x)[:, :, None] * b[:, None, :]
        d_c += tl.sum(hidden * d_y[:, :, None], 1)

        # The gradient by each state, from the end: a token hands it on through the decay of the next one.
        later = _rows(dt_ptr + row * D, H * D, 1, count, first_d, D, CHUNK, BLOCK_D)
        decay = tl.exp(later[:, :, None] * a[None, :, :])
        read = d_y[:, :, None] * c[:, None, :]
        kept, fresh = tl.associative_scan((decay, read), 0, _then, reverse=True)
        d_hidden = fresh + kept * d_h[None, :, :]
        d_b += tl.sum(d_hidden * (dt * x)[:, :, None], 1)
        d_write = tl.sum(d_hidden * b[:, None, :], 2)
        d_exponent = d_hidden * carried
        d_x = d_write * dt + skip[None, :] * d_y
        d_dt = d_write * x + tl.sum(d_exponent * a[None, :, :], 2)
        _store_rows(d_x_ptr + row * D, H * D, count, first_d, D, d_x, CHUNK, BLOCK_D)
        _store_rows(d_dt_ptr + row * D, H * D, count, first_d, D, d_dt, CHUNK, BLOCK_D)
        d_a = tl.sum(d_exponent * dt[:, :, None], 0)
        tl.store(a_parts_ptr + part * D * N + offsets, d_a, mask=mask)
        tl.store(skip_parts_ptr + part * D + d, tl.sum(d_y * x, 0), mask=d < D)
    _store_rows(d_b_ptr + row * N, H * N, count, 0, N, d_b, CHUNK, BLOCK_N)
    _store_rows(d_c_ptr + row * N, H * N, count, 0, N, d_c, CHUNK, BLOCK_N)


@triton.jit
def _sum_kernel(parts_ptr, total_ptr, count, size, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Grid (size / COLUMNS,): parts (count, size) summed over the first axis, always in the same order."""
    j = tl.program_id(0).to(tl.int64) * COLUMNS + tl.arange(0, COLUMNS)
    total = tl.zeros((COLUMNS,), tl.float32)
    for first in range(0, count, ROWS):
        i = first + tl.arange(0, ROWS)[:, None]
        mask = (i < count) & (j < size)[None, :]
        total += tl.sum(tl.load(parts_ptr + i * size + j[None, :], mask=mask, other=0.0), 0)
    tl.store(total_ptr + j, total, mask=j < size)


def _blocks(D: int, N: int, tuning: dict[str, int]) -> tuple[int, int]:
    """Sides of a tile of the state, so that a chunk's states are about TILE numbers."""
    block_n = triton.next_power_of_2(N)
    return min(triton.next_power_of_2(D), max(1, tuning["TILE"] // (tuning["CHUNK"] * block_n))), block_n


def forward(
    x: torch.Tensor,
    dt: torch.Tensor,
    b: torch.Tensor,
    c: torch.Tensor,
    a: torch.Tensor,
    skip: torch.Tensor,
    *,
    state: tuple[torch.Tensor, ...],
    tuning: dict[str, int],
) -> tuple[torch.Tensor, tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]:
    """Output (B, T, H, D), final state (h,) and the residuals of `backward`; arguments as in `reference`."""
    B, T, H, D = x.shape
    N = b.shape[-1]
    chunk, num_warps = tuning["CHUNK"], tuning["num_warps"]
    chunks = triton.cdiv(T, chunk)
    block_d, block_n = _blocks(D, N, tuning)
    d_tiles = triton.cdiv(D, block_d)
    x, dt, b, c = x.contiguous(), dt.contiguous(), b.contiguous(), c.contiguous()
    a, skip, initial = a.contiguous(), skip.contiguous(), state[0].contiguous()
    states = torch.empty((B, H, chunks, D, N), dtype=torch.float32, device=x.device)
    final = torch.empty((B, H, D, N), dtype=torch.float32, device=x.device)
    output = torch.empty((B, T, H, D), dtype=x.dtype, device=x.device)
    _state_kernel[(B * H, d_tiles)](
        x, dt, b, a, initial, states, final, T, H,
        D=D, N=N, CHUNK=chunk, BLOCK_D=block_d, BLOCK_N=block_n, num_warps=num_warps,
    )
    _output_kernel[(B * H * chunks, d_tiles)](
        x, dt, b, c, a, skip, states, output, T, H,
        D=D, N=N, CHUNK=chunk, BLOCK_D=block_d, BLOCK_N=block_n, num_warps=num_warps,
    )
    return output, (final,), (x, dt, b, c, a, skip, states)


def backward(
    residuals: tuple[torch.Tensor, ...],
    d_output: torch.Tensor,
    d_state: tuple[torch.Tensor, ...],
    *,
    needs: tuple[bool, ...],
    tuning: dict[str, int],
) -> tuple[torch.Tensor | None, ...]:
    """Gradients by x, dt, b, c, a, skip and h from those by the output (B, T, H, D) and the final state."""
    x, dt, b, c, a, skip, states = residuals
    B, T, H, D = x.shape
    N = b.shape[-1]
    chunk, num_warps = tuning["CHUNK"], tuning["num_warps"]
    chunks = triton.cdiv(T, chunk)
    block_d, block_n = _blocks(D, N, tuning)
    d_output, d_final = d_output.contiguous(), d_state[0].contiguous()
    d_states, d_initial = torch.empty_like(states), torch.empty_like(d_final)
    _state_grad_kernel[(B * H, triton.cdiv(D, block_d))](
        dt, c, a, d_output, d_final, d_states, d_initial, T, H,
        D=D, N=N, CHUNK=chunk, BLOCK_D=block_d, BLOCK_N=block_n, num_warps=num_warps,
    )
    if not any(needs[:-1]):
        return None, None, None, None, None, None, d_initial
    d_x, d_dt, d_b, d_c = torch.empty_like(x), torch.empty_like(dt), torch.empty_like(b), torch.empty_like(c)
    a_parts = torch.empty((B, chunks, H, D, N), dtype=torch.float32, device=x.device)
    skip_parts = torch.empty((B, chunks, H, D), dtype=torch.float32, device=x.device)
    _input_grad_kernel[(B * H * chunks,)](
        x, dt, b, c, a, skip, d_output, states, d_states, d_x, d_dt, d_b, d_c, a_parts, skip_parts, T, H,
        D=D, N=N, CHUNK=chunk, BLOCK_D=block_d, BLOCK_N=block_n, num_warps=num_warps,
    )
    d_a, d_skip = None, None
    if needs[4]:
        d_a = torch.empty_like(a)
        _sum_kernel[(triton.cdiv(H * D * N, 128),)](
            a_parts, d_a, B * chunks, H * D * N, ROWS=16, COLUMNS=128, num_warps=4
        )
    if needs[5]:
        d_skip = torch.empty_like(skip)
        _sum_kernel[(triton.cdiv(H * D, 128),)](
            skip_parts, d_skip, B * chunks, H * D, ROWS=16, COLUMNS=128, num_warps=4
        )
    return d_x, d_dt, d_b, d_c, d_a, d_skip, d_initial
