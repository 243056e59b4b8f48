"""Gated short convolution: each channel sees its last four gated tokens through learned taps.

    y_t = g_t * x_t,    z_t = sum_{j < 4} w_j y_{t-j},    o_t = c_t * z_t,    the state is (y_{t-2}, y_{t-1}, y_t).
O(T D) time, O(D) state per head.
"""

import torch
import triton
import triton.language as tl

SPEC = {
    "contract": 1,
    "template": "free",
    "causal": True,
    "inputs": {"x": "B T H D", "g": "B T H D : unit_interval", "c": "B T H D"},
    "params": {"w": "H W D"},
    "dims": {"P": 3, "W": "P + 1"},
    "constants": {},
    "output": "B T H D",
    "state": {"past": "B P H D : normal, float32"},
}
TUNING = [{"BLOCK_T": 32, "num_warps": 4}, {"BLOCK_T": 64, "num_warps": 4}]


def reference(x, g, c, w, *, state):
    (past,) = state
    y = g * x
    seen = torch.cat([past, y], dim=1)
    T = x.shape[1]
    z = 0.0
    for j in range(4):
        z = z + w[None, None, :, j, :] * seen[:, 3 - j : 3 - j + T]
    return c * z, (seen[:, T:],)


@triton.jit
def _gated(x_ptr, g_ptr, past_ptr, i_b, i_h, t, columns, T, H, D: tl.constexpr):
    """y at times t (BLOCK_T,), from the state where t < 0; zero outside."""
    now = (i_b * T + t[:, None]) * H * D + i_h * D + columns[None, :]
    before = (i_b * 3 + t[:, None] + 3) * H * D + i_h * D + columns[None, :]
    inside = columns[None, :] < D
    here = inside & (t[:, None] >= 0) & (t[:, None] < T)
    x = tl.load(x_ptr + now, mask=here, other=0.0).to(tl.float32)
    g = tl.load(g_ptr + now, mask=here, other=0.0).to(tl.float32)
    past = tl.load(past_ptr + before, mask=inside & (t[:, None] < 0) & (t[:, None] >= -3), other=0.0)
    return x * g + past


@triton.jit
def _forward_kernel(
    x_ptr, g_ptr, c_ptr, w_ptr, past_ptr, o_ptr, final_ptr, T, H,
    D: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK_D: tl.constexpr,
):
    """Grid (tiles of T, B * H); the last tile also writes the final state."""
    i_t = tl.program_id(0)
    i_bh = tl.program_id(1)
    i_b = i_bh // H
    i_h = i_bh % H
    t = i_t * BLOCK_T + tl.arange(0, BLOCK_T)
    columns = tl.arange(0, BLOCK_D)
    z = tl.zeros((BLOCK_T, BLOCK_D), tl.float32)
    for j in tl.static_range(4):
        w = tl.load(w_ptr + (i_h * 4 + j) * D + columns, mask=columns < D, other=0.0)
        z += w[None, :] * _gated(x_ptr, g_ptr, past_ptr, i_b, i_h, t - j, columns, T, H, D)
    offsets = (i_b * T + t[:, None]) * H * D + i_h * D + columns[None, :]
    inside = (t[:, None] < T) & (columns[None, :] < D)
    c = tl.load(c_ptr + offsets, mask=inside, other=0.0).to(tl.float32)
    tl.store(o_ptr + offsets, (c * z).to(o_ptr.dtype.element_ty), mask=inside)
    if i_t == tl.num_programs(0) - 1:
        rows = tl.arange(0, 4)
        last = _gated(x_ptr, g_ptr, past_ptr, i_b, i_h, T - 3 + rows, columns, T, H, D)
        place = (i_b * 3 + rows[:, None]) * H * D + i_h * D + columns[None, :]
        tl.store(final_ptr + place, last, mask=(rows[:, None] < 3) & (columns[None, :] < D))


@triton.jit
def _d_gated(c_ptr, w_ptr, d_o_ptr, d_final_ptr, i_b, i_h, t, columns, T, H, D: tl.constexpr):
    """Gradient by y at times t (from -3 on): its four readers, and the final state where it is part of it."""
    inside = columns[None, :] < D
    place = (i_b * 3 + t[:, None] + 3 - T) * H * D + i_h * D + columns[None, :]
    d_y = tl.load(d_final_ptr + place, mask=inside & (t[:, None] >= T - 3) & (t[:, None] < T), other=0.0)
    for j in tl.static_range(4):
        reader = t + j
        w = tl.load(w_ptr + (i_h * 4 + j) * D + columns, mask=columns < D, other=0.0)
        offsets = (i_b * T + reader[:, None]) * H * D + i_h * D + columns[None, :]
        there = inside & (reader[:, None] >= 0) & (reader[:, None] < T)
        c = tl.load(c_ptr + offsets, mask=there, other=0.0).to(tl.float32)
        d_o = tl.load(d_o_ptr + offsets, mask=there, other=0.0).to(tl.float32)
        d_y += w[None, :] * c * d_o
    return d_y


@triton.jit
def _backward_kernel(
    x_ptr, g_ptr, c_ptr, w_ptr, past_ptr, d_o_ptr, d_final_ptr, d_x_ptr, d_g_ptr, d_c_ptr, d_past_ptr, parts_ptr, T, H,
    D: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK_D: tl.constexpr,
):
    """Grid (tiles of T, B * H); parts (B * H, tiles, 4, D) holds each tile's share of d_w."""
    i_t = tl.program_id(0)
    i_bh = tl.program_id(1)
    i_b = i_bh // H
    i_h = i_bh % H
    t = i_t * BLOCK_T + tl.arange(0, BLOCK_T)
    columns = tl.arange(0, BLOCK_D)
    offsets = (i_b * T + t[:, None]) * H * D + i_h * D + columns[None, :]
    inside = (t[:, None] < T) & (columns[None, :] < D)
    x = tl.load(x_ptr + offsets, mask=inside, other=0.0).to(tl.float32)
    g = tl.load(g_ptr + offsets, mask=inside, other=0.0).to(tl.float32)
    c = tl.load(c_ptr + offsets, mask=inside, other=0.0).to(tl.float32)
    d_o = tl.load(d_o_ptr + offsets, mask=inside, other=0.0).to(tl.float32)
    d_y = _d_gated(c_ptr, w_ptr, d_o_ptr, d_final_ptr, i_b, i_h, t, columns, T, H, D)
    tl.store(d_x_ptr + offsets, (g * d_y).to(d_x_ptr.dtype.element_ty), mask=inside)
    tl.store(d_g_ptr + offsets, (x * d_y).to(d_g_ptr.dtype.element_ty), mask=inside)
    z = tl.zeros((BLOCK_T, BLOCK_D), tl.float32)
    for j in tl.static_range(4):
        y = _gated(x_ptr, g_ptr, past_ptr, i_b, i_h, t - j, columns, T, H, D)
        w = tl.load(w_ptr + (i_h * 4 + j) * D + columns, mask=columns < D, other=0.0)
        z += w[None, :] * y
        part = ((i_bh * tl.num_programs(0) + i_t) * 4 + j) * D + columns
        tl.store(parts_ptr + part, tl.sum(c * d_o * y, 0), mask=columns < D)
    tl.store(d_c_ptr + offsets, (z * d_o).to(d_c_ptr.dtype.element_ty), mask=inside)
    if i_t == 0:
        rows = tl.arange(0, 4)
        d_past = _d_gated(c_ptr, w_ptr, d_o_ptr, d_final_ptr, i_b, i_h, rows - 3, columns, T, H, D)
        place = (i_b * 3 + rows[:, None]) * H * D + i_h * D + columns[None, :]
        tl.store(d_past_ptr + place, d_past, mask=(rows[:, None] < 3) & (columns[None, :] < D))


@triton.jit
def _sum_kernel(parts_ptr, d_w_ptr, B, H, tiles, D: tl.constexpr, BLOCK_D: tl.constexpr):
    """Grid (H, 4): the parts of a tap, over sequences and tiles in order."""
    i_h = tl.program_id(0)
    j = tl.program_id(1)
    columns = tl.arange(0, BLOCK_D)
    total = tl.zeros((BLOCK_D,), tl.float32)
    for i_b in range(B):
        for i_t in range(tiles):
            part = (((i_b * H + i_h) * tiles + i_t) * 4 + j) * D + columns
            total += tl.load(parts_ptr + part, mask=columns < D, other=0.0)
    tl.store(d_w_ptr + (i_h * 4 + j) * D + columns, total, mask=columns < D)


def forward(x, g, c, w, *, state, tuning):
    B, T, H, D = x.shape
    x, g, c, w, past = x.contiguous(), g.contiguous(), c.contiguous(), w.contiguous(), state[0].contiguous()
    output = torch.empty_like(x)
    final = torch.empty_like(past)
    _forward_kernel[(triton.cdiv(T, tuning["BLOCK_T"]), B * H)](
        x, g, c, w, past, output, final, T, H, D=D, BLOCK_T=tuning["BLOCK_T"],
        BLOCK_D=triton.next_power_of_2(D), num_warps=tuning["num_warps"],
    )
    return output, (final,), (x, g, c, w, past)


def backward(residuals, d_output, d_state, *, needs, tuning):
    x, g, c, w, past = residuals
    B, T, H, D = x.shape
    tiles = triton.cdiv(T, tuning["BLOCK_T"])
    block_d = triton.next_power_of_2(D)
    d_output, d_final = d_output.contiguous(), d_state[0].contiguous()
    d_x, d_g, d_c, d_past = torch.empty_like(x), torch.empty_like(g), torch.empty_like(c), torch.empty_like(past)
    parts = torch.empty((B * H, tiles, 4, D), dtype=torch.float32, device=x.device)
    _backward_kernel[(tiles, B * H)](
        x, g, c, w, past, d_output, d_final, d_x, d_g, d_c, d_past, parts, T, H, D=D, BLOCK_T=tuning["BLOCK_T"],
        BLOCK_D=block_d, num_warps=tuning["num_warps"],
    )
    d_w = None
    if needs[3]:
        d_w = torch.empty_like(w)
        _sum_kernel[(H, 4)](parts, d_w, B, H, tiles, D=D, BLOCK_D=block_d, num_warps=1)
    return d_x, d_g, d_c, d_w, d_past
