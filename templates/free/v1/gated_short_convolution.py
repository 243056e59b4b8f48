"""Short causal convolution between two gates: every channel mixes its last four gated tokens.

    y_t = g_t * x_t,    z_t = sum_{j < W} w_j * y_{t-j},    o_t = c_t * z_t,    state (y_{t-W+2}, ..., y_t)

Every product is elementwise over the H x D channels. Cost: O(T W D) time, O(W D) state per head.
Source: the shift operator between two multiplicative gates of H3 (Fu et al. 2022, arXiv:2212.14052) and the
short depthwise filters of Hyena (Poli et al. 2023, arXiv:2302.10866, section 3).
"""

import torch
import triton
import triton.language as tl

SPEC = {
    "contract": 1,
    "template": "free",
    "causal": True,
    "inputs": {"x": "B T H D", "g": "B T H D", "c": "B T H D"},
    "params": {"w": "W H D"},
    "dims": {"W": 4, "P": "W - 1"},
    "constants": {},
    "output": "B T H D",
    "state": {"past": "B P H D : normal, float32"},
}
TUNING = [
    {"BLOCK_T": 32, "BLOCK_C": 64, "num_warps": 4},
    {"BLOCK_T": 64, "BLOCK_C": 32, "num_warps": 4},
    {"BLOCK_T": 16, "BLOCK_C": 128, "num_warps": 2},
]


def reference(
    x: torch.Tensor, g: torch.Tensor, c: torch.Tensor, w: torch.Tensor, *, state: tuple[torch.Tensor, ...]
) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    """The definition, one tap at a time.

    x, g, c (B, T, H, D), w (W, H, D) with w[0] the tap of the token itself, state (past,) with past
    (B, W - 1, H, D): the last gated tokens before the first, oldest first.
    Returns the output (B, T, H, D) and the last W - 1 gated tokens.
    """
    (past,) = state
    T, P = x.shape[1], past.shape[1]
    seen = torch.cat([past, g * x], dim=1)
    z = torch.zeros_like(x)
    for j in range(w.shape[0]):
        z = z + w[j] * seen[:, P - j : P - j + T]
    return c * z, (seen[:, T:],)


@triton.jit
def _written(x_ptr, g_ptr, past_ptr, t, channels, T, C, PAST: tl.constexpr):
    """y in float32 at the tokens t (rows,) of one sequence: the state before token 0, zero past the end.

    Pointers are those of the sequence; padded channels are zero.
    """
    offsets = t[:, None] * C + channels[None, :]
    inside = channels[None, :] < C
    now = inside & (t[:, None] >= 0) & (t[:, None] < T)
    before = inside & (t[:, None] < 0) & (t[:, None] >= -PAST)
    x = tl.load(x_ptr + offsets, mask=now, other=0.0).to(tl.float32)
    g = tl.load(g_ptr + offsets, mask=now, other=0.0).to(tl.float32)
    return g * x + tl.load(past_ptr + offsets + PAST * C, mask=before, other=0.0)


@triton.jit
def _written_grad(c_ptr, w_ptr, d_o_ptr, d_final_ptr, t, channels, T, C, TAPS: tl.constexpr):
    """Gradient by y at the tokens t (rows,) >= 1 - TAPS: from its readers t, ..., t + TAPS - 1, and from the
    final state if it is part of that.
    """
    offsets = t[:, None] * C + channels[None, :]
    inside = channels[None, :] < C
    first = T - (TAPS - 1)  # the oldest token of the final state
    kept = inside & (t[:, None] >= first) & (t[:, None] < T)
    d_y = tl.load(d_final_ptr + offsets - first * C, mask=kept, other=0.0)
    for j in tl.static_range(TAPS):
        reads = inside & (t[:, None] + j >= 0) & (t[:, None] + j < T)
        w = tl.load(w_ptr + j * C + channels, mask=channels < C, other=0.0)
        c = tl.load(c_ptr + offsets + j * C, mask=reads, other=0.0).to(tl.float32)
        d_o = tl.load(d_o_ptr + offsets + j * C, mask=reads, other=0.0).to(tl.float32)
        d_y += w[None, :] * c * d_o
    return d_y


@triton.jit
def _forward_kernel(
    x_ptr,  # (B, T, C)
    g_ptr,  # (B, T, C)
    c_ptr,  # (B, T, C)
    w_ptr,  # (TAPS, C)
    past_ptr,  # (B, TAPS - 1, C)
    o_ptr,  # (B, T, C), out
    final_ptr,  # (B, TAPS - 1, C), out
    T,
    C,
    TAPS: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_P: tl.constexpr,
):
    """Grid (tiles of T, tiles of C, B), C = H * D. The last tile of T also writes the final state."""
    i_t = tl.program_id(0)
    i_b = tl.program_id(2).to(tl.int64)
    channels = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    t = i_t.to(tl.int64) * BLOCK_T + tl.arange(0, BLOCK_T)
    x_ptr += i_b * T * C
    g_ptr += i_b * T * C
    past_ptr += i_b * (TAPS - 1) * C
    z = tl.zeros((BLOCK_T, BLOCK_C), tl.float32)
    for j in tl.static_range(TAPS):
        w = tl.load(w_ptr + j * C + channels, mask=channels < C, other=0.0)
        z += w[None, :] * _written(x_ptr, g_ptr, past_ptr, t - j, channels, T, C, TAPS - 1)
    offsets = (i_b * T + t[:, None]) * C + channels[None, :]
    inside = (t[:, None] < T) & (channels[None, :] < C)
    c = tl.load(c_ptr + offsets, mask=inside, other=0.0).to(tl.float32)
    tl.store(o_ptr + offsets, (c * z).to(o_ptr.dtype.element_ty), mask=inside)
    if i_t == tl.num_programs(0) - 1:
        rows = tl.arange(0, BLOCK_P)
        last = _written(x_ptr, g_ptr, past_ptr, T - (TAPS - 1) + rows, channels, T, C, TAPS - 1)
        place = (i_b * (TAPS - 1) + rows[:, None]) * C + channels[None, :]
        tl.store(final_ptr + place, last, mask=(rows[:, None] < TAPS - 1) & (channels[None, :] < C))


@triton.jit
def _backward_kernel(
    x_ptr,  # (B, T, C)
    g_ptr,  # (B, T, C)
    c_ptr,  # (B, T, C)
    w_ptr,  # (TAPS, C)
    past_ptr,  # (B, TAPS - 1, C)
    d_o_ptr,  # (B, T, C)
    d_final_ptr,  # (B, TAPS - 1, C)
    d_x_ptr,  # (B, T, C), out
    d_g_ptr,  # (B, T, C), out
    d_c_ptr,  # (B, T, C), out
    d_past_ptr,  # (B, TAPS - 1, C), out
    parts_ptr,  # (B, tiles of T, TAPS, C), out: each tile's share of the gradient by w
    T,
    C,
    TAPS: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_P: tl.constexpr,
    NEED_W: tl.constexpr,
):
    """Grid (tiles of T, tiles of C, B). The first tile of T also writes the gradient by the initial state."""
    i_t = tl.program_id(0)
    i_b = tl.program_id(2).to(tl.int64)
    channels = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    t = i_t.to(tl.int64) * BLOCK_T + tl.arange(0, BLOCK_T)
    start, state = i_b * T * C, i_b * (TAPS - 1) * C
    offsets = start + t[:, None] * C + channels[None, :]
    inside = (t[:, None] < T) & (channels[None, :] < C)
    c = tl.load(c_ptr + offsets, mask=inside, other=0.0).to(tl.float32)
    d_o = tl.load(d_o_ptr + offsets, mask=inside, other=0.0).to(tl.float32)
    d_z = c * d_o
    z = tl.zeros((BLOCK_T, BLOCK_C), tl.float32)
    for j in tl.static_range(TAPS):
        y = _written(x_ptr + start, g_ptr + start, past_ptr + state, t - j, channels, T, C, TAPS - 1)
        w = tl.load(w_ptr + j * C + channels, mask=channels < C, other=0.0)
        z += w[None, :] * y
        if NEED_W:
            part = ((i_b * tl.num_programs(0) + i_t) * TAPS + j) * C + channels
            tl.store(parts_ptr + part, tl.sum(d_z * y, 0), mask=channels < C)
    tl.store(d_c_ptr + offsets, (z * d_o).to(d_c_ptr.dtype.element_ty), mask=inside)

    d_y = _written_grad(
        c_ptr + start, w_ptr, d_o_ptr + start, d_final_ptr + state, t, channels, T, C, TAPS
    )
    x = tl.load(x_ptr + offsets, mask=inside, other=0.0).to(tl.float32)
    g = tl.load(g_ptr + offsets, mask=inside, other=0.0).to(tl.float32)
    tl.store(d_x_ptr + offsets, (g * d_y).to(d_x_ptr.dtype.element_ty), mask=inside)
    tl.store(d_g_ptr + offsets, (x * d_y).to(d_g_ptr.dtype.element_ty), mask=inside)
    if i_t == 0:
        rows = tl.arange(0, BLOCK_P)
        d_past = _written_grad(
            c_ptr + start, w_ptr, d_o_ptr + start, d_final_ptr + state, rows - TAPS + 1, channels, T, C, TAPS
        )
        place = state + rows[:, None] * C + channels[None, :]
        tl.store(d_past_ptr + place, d_past, mask=(rows[:, None] < TAPS - 1) & (channels[None, :] < C))


@triton.jit
def _sum_kernel(
    parts_ptr,  # (count, size)
    total_ptr,  # (size,), out
    count,
    size,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Grid (tiles of size,): the parts added up in one fixed order."""
    columns = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK,), tl.float32)
    for first in range(0, count, ROWS):
        rows = first + tl.arange(0, ROWS)
        inside = (rows[:, None] < count) & (columns[None, :] < size)
        offsets = rows[:, None].to(tl.int64) * size + columns[None, :]
        total += tl.sum(tl.load(parts_ptr + offsets, mask=inside, other=0.0), 0)
    tl.store(total_ptr + columns, total, mask=columns < size)


def forward(
    x: torch.Tensor,
    g: torch.Tensor,
    c: torch.Tensor,
    w: torch.Tensor,
    *,
    state: tuple[torch.Tensor, ...],
    tuning: dict[str, int],
) -> tuple[torch.Tensor, tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]:
    """Output (B, T, H, D), final state (past,), residuals of `backward`; arguments as in `reference`."""
    B, T, H, D = x.shape
    taps = w.shape[0]
    x, g, c, w, past = x.contiguous(), g.contiguous(), c.contiguous(), w.contiguous(), state[0].contiguous()
    output, final = torch.empty_like(x), torch.empty_like(past)
    grid = (triton.cdiv(T, tuning["BLOCK_T"]), triton.cdiv(H * D, tuning["BLOCK_C"]), B)
    _forward_kernel[grid](
        x, g, c, w, past, output, final, T, H * D,
        TAPS=taps, BLOCK_T=tuning["BLOCK_T"], BLOCK_C=tuning["BLOCK_C"],
        BLOCK_P=triton.next_power_of_2(taps - 1), num_warps=tuning["num_warps"],
    )
    return output, (final,), (x, g, c, w, past)


def backward(
    residuals: tuple[torch.Tensor, ...],
    d_output: torch.Tensor,
    d_state: tuple[torch.Tensor, ...],
    *,
    needs: tuple[bool, ...],
    tuning: dict[str, int],
) -> tuple[torch.Tensor | None, ...]:
    """Gradients by x, g, c, w and past from those by the output (B, T, H, D) and the final state."""
    x, g, c, w, past = residuals
    B, T, H, D = x.shape
    taps = w.shape[0]
    d_output, d_final = d_output.contiguous(), d_state[0].contiguous()
    d_x, d_g, d_c = torch.empty_like(x), torch.empty_like(g), torch.empty_like(c)
    d_past = torch.empty_like(past)
    tiles = triton.cdiv(T, tuning["BLOCK_T"])
    parts = torch.empty((B, tiles, taps, H, D), dtype=torch.float32, device=x.device)
    _backward_kernel[(tiles, triton.cdiv(H * D, tuning["BLOCK_C"]), B)](
        x, g, c, w, past, d_output, d_final, d_x, d_g, d_c, d_past, parts, T, H * D,
        TAPS=taps, BLOCK_T=tuning["BLOCK_T"], BLOCK_C=tuning["BLOCK_C"],
        BLOCK_P=triton.next_power_of_2(taps - 1), NEED_W=needs[3], num_warps=tuning["num_warps"],
    )
    if not needs[3]:
        return d_x, d_g, d_c, None, d_past
    d_w = torch.empty_like(w)
    _sum_kernel[(triton.cdiv(taps * H * D, 64),)](
        parts, d_w, B * tiles, taps * H * D, ROWS=32, BLOCK=64, num_warps=4,
    )
    return d_x, d_g, d_c, d_w, d_past
