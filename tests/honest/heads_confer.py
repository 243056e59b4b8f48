"""Fading sums whose heads confer: every head also reads the mean over all heads, weighted by channel.

    S_t,h = S_{t-1,h} / 2 + x_t,h,    o_t,h = g_t,h (S_t,h + p mean_h S_t,h).
The heads talk to one another on purpose; the learned p has no head axis. O(T H D) time, O(D) state per head.
"""

import torch
import triton
import triton.language as tl

SPEC = {
    "contract": 1,
    "template": "free",
    "causal": True,
    "inputs": {"x": "B T H D", "g": "B T H D"},
    "params": {"p": "D"},
    "dims": {},
    "constants": {},
    "output": "B T H D",
    "state": {"S": "B H D : normal, float32"},
}
TUNING = [{"num_warps": 4}]


def reference(x, g, p, *, state):
    (S,) = state
    outputs = []
    for t in range(x.shape[1]):
        S = 0.5 * S + x[:, t]
        outputs.append(g[:, t] * (S + p * S.mean(dim=1, keepdim=True)))
    return torch.stack(outputs, dim=1), (S,)


@triton.jit
def _forward_kernel(
    x_ptr, g_ptr, p_ptr, s_ptr, o_ptr, final_ptr, kept_ptr, T, H,
    D: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_D: tl.constexpr,
):
    """Grid (B,): all heads of a sequence; keeps S after every token for backward."""
    i_b = tl.program_id(0)
    heads = tl.arange(0, BLOCK_H)[:, None]
    columns = tl.arange(0, BLOCK_D)
    tile = heads * D + columns[None, :]
    inside = (heads < H) & (columns[None, :] < D)
    p = tl.load(p_ptr + columns, mask=columns < D, other=0.0)
    S = tl.load(s_ptr + i_b * H * D + tile, mask=inside, other=0.0)
    for t in range(T):
        at = (i_b * T + t) * H * D + tile
        x = tl.load(x_ptr + at, mask=inside, other=0.0).to(tl.float32)
        g = tl.load(g_ptr + at, mask=inside, other=0.0).to(tl.float32)
        S = 0.5 * S + x
        o = g * (S + (p * tl.sum(S, 0) / H)[None, :])
        tl.store(kept_ptr + at, S, mask=inside)
        tl.store(o_ptr + at, o.to(o_ptr.dtype.element_ty), mask=inside)
    tl.store(final_ptr + i_b * H * D + tile, S, mask=inside)


@triton.jit
def _backward_kernel(
    g_ptr, p_ptr, kept_ptr, d_o_ptr, d_final_ptr, d_x_ptr, d_g_ptr, parts_ptr, d_s_ptr, T, H,
    D: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_D: tl.constexpr,
):
    """Grid (B,): from the last token to the first; parts (B, D) are each sequence's share of d_p."""
    i_b = tl.program_id(0)
    heads = tl.arange(0, BLOCK_H)[:, None]
    columns = tl.arange(0, BLOCK_D)
    tile = heads * D + columns[None, :]
    inside = (heads < H) & (columns[None, :] < D)
    p = tl.load(p_ptr + columns, mask=columns < D, other=0.0)
    d_S = tl.load(d_final_ptr + i_b * H * D + tile, mask=inside, other=0.0)
    d_p = tl.zeros((BLOCK_D,), tl.float32)
    for step in range(T):
        at = (i_b * T + T - 1 - step) * H * D + tile
        g = tl.load(g_ptr + at, mask=inside, other=0.0).to(tl.float32)
        d_o = tl.load(d_o_ptr + at, mask=inside, other=0.0).to(tl.float32)
        S = tl.load(kept_ptr + at, mask=inside, other=0.0)
        mean = tl.sum(S, 0) / H
        d_g = d_o * (S + (p * mean)[None, :])
        shared = tl.sum(d_o * g, 0)
        d_p += shared * mean
        d_S = tl.where(inside, d_S + d_o * g + (p * shared / H)[None, :], 0.0)
        tl.store(d_g_ptr + at, d_g.to(d_g_ptr.dtype.element_ty), mask=inside)
        tl.store(d_x_ptr + at, d_S.to(d_x_ptr.dtype.element_ty), mask=inside)
        d_S = 0.5 * d_S
    tl.store(parts_ptr + i_b * D + columns, d_p, mask=columns < D)
    tl.store(d_s_ptr + i_b * H * D + tile, d_S, mask=inside)


@triton.jit
def _sum_kernel(parts_ptr, total_ptr, B, D: tl.constexpr, BLOCK_D: tl.constexpr):
    """Grid (1,): parts (B, D) summed over B, in order."""
    columns = tl.arange(0, BLOCK_D)
    total = tl.zeros((BLOCK_D,), tl.float32)
    for i_b in range(B):
        total += tl.load(parts_ptr + i_b * D + columns, mask=columns < D, other=0.0)
    tl.store(total_ptr + columns, total, mask=columns < D)


def forward(x, g, p, *, state, tuning):
    B, T, H, D = x.shape
    x, g, p, initial = x.contiguous(), g.contiguous(), p.contiguous(), state[0].contiguous()
    output, final = torch.empty_like(x), torch.empty_like(initial)
    kept = torch.empty((B, T, H, D), dtype=torch.float32, device=x.device)
    _forward_kernel[(B,)](
        x, g, p, initial, output, final, kept, T, H, D=D, BLOCK_H=triton.next_power_of_2(H),
        BLOCK_D=triton.next_power_of_2(D), num_warps=tuning["num_warps"],
    )
    return output, (final,), (g, p, kept)


def backward(residuals, d_output, d_state, *, needs, tuning):
    g, p, kept = residuals
    B, T, H, D = g.shape
    d_output, d_final = d_output.contiguous(), d_state[0].contiguous()
    d_x, d_g, d_p, d_initial = [torch.empty_like(like) for like in (g, g, p, d_final)]
    parts = torch.empty((B, D), dtype=torch.float32, device=g.device)
    block_d = triton.next_power_of_2(D)
    _backward_kernel[(B,)](
        g, p, kept, d_output, d_final, d_x, d_g, parts, d_initial, T, H, D=D,
        BLOCK_H=triton.next_power_of_2(H), BLOCK_D=block_d, num_warps=tuning["num_warps"],
    )
    _sum_kernel[(1,)](parts, d_p, B, D=D, BLOCK_D=block_d)
    return d_x, d_g, d_p, d_initial
