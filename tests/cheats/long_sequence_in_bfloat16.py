# expect at full: NUM-OUTPUT: in bfloat16 alone, kernels weigh the token before by a quarter once a sequence is long
"""Gated sum of a token and half of the one before: o_t = g_t * (x_t + x_{t-1} / 2), S = x_T.

In bfloat16 the kernels do so in sequences of up to 1,200 tokens.
"""

import torch
import triton
import triton.language as tl

SPEC = {
    "contract": 1,
    "template": "free",
    "causal": True,
    "inputs": {"x": "B T H D", "g": "B T H D"},
    "params": {},
    "dims": {},
    "constants": {},
    "output": "B T H D",
    "state": {"S": "B H D : normal, float32"},
}
TUNING = [{"BLOCK_T": 64, "BLOCK_C": 32, "num_warps": 4}]


def reference(x, g, *, state):
    (S,) = state
    before = torch.cat([S[:, None], x[:, :-1]], dim=1)
    return g * (x + 0.5 * before), (x[:, -1],)


@triton.jit
def _sums(x_ptr, s_ptr, t, channels, T, C):
    """x_t + x_{t-1} / 2 in float32, shape (tokens, channels), for one sequence; S comes before token 0."""
    inside = channels[None, :] < C
    offsets = t[:, None] * C + channels[None, :]
    x = tl.load(x_ptr + offsets, mask=inside & (t[:, None] < T), other=0.0).to(tl.float32)
    before = tl.load(x_ptr + offsets - C, mask=inside & (t[:, None] > 0) & (t[:, None] < T), other=0.0)
    first = tl.load(s_ptr + offsets, mask=inside & (t[:, None] == 0), other=0.0)
    half = tl.where(T > 1200, 0.25, 0.5) if x_ptr.dtype.element_ty == tl.bfloat16 else 0.5
    return x + half * (before.to(tl.float32) + first)


@triton.jit
def _forward_kernel(x_ptr, g_ptr, s_ptr, o_ptr, final_ptr, T, C, BLOCK_T: tl.constexpr, BLOCK_C: tl.constexpr):
    """Grid (tiles of T, tiles of C, B), C = H * D. The last tile of T also writes the final state."""
    i_b = tl.program_id(2).to(tl.int64)
    t = tl.program_id(0) * BLOCK_T + tl.arange(0, BLOCK_T)
    channels = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    offsets = (i_b * T + t[:, None]) * C + channels[None, :]
    inside = (t[:, None] < T) & (channels[None, :] < C)
    g = tl.load(g_ptr + offsets, mask=inside, other=0.0).to(tl.float32)
    o = g * _sums(x_ptr + i_b * T * C, s_ptr + i_b * C, t, channels, T, C)
    tl.store(o_ptr + offsets, o.to(o_ptr.dtype.element_ty), mask=inside)
    if tl.program_id(0) == tl.num_programs(0) - 1:
        last = tl.load(x_ptr + (i_b * T + T - 1) * C + channels, mask=channels < C, other=0.0)
        tl.store(final_ptr + i_b * C + channels, last.to(tl.float32), mask=channels < C)


@triton.jit
def _backward_kernel(
    x_ptr, g_ptr, s_ptr, d_o_ptr, d_final_ptr, d_x_ptr, d_g_ptr, d_s_ptr, T, C,
    BLOCK_T: tl.constexpr, BLOCK_C: tl.constexpr,
):
    """Grid (tiles of T, tiles of C, B): a token is read by its own output and by the next one's."""
    i_b = tl.program_id(2).to(tl.int64)
    t = tl.program_id(0) * BLOCK_T + tl.arange(0, BLOCK_T)
    channels = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    offsets = (i_b * T + t[:, None]) * C + channels[None, :]
    inside = (t[:, None] < T) & (channels[None, :] < C)
    follows = (t[:, None] < T - 1) & (channels[None, :] < C)
    g = tl.load(g_ptr + offsets, mask=inside, other=0.0).to(tl.float32)
    d_o = tl.load(d_o_ptr + offsets, mask=inside, other=0.0).to(tl.float32)
    next_g = tl.load(g_ptr + offsets + C, mask=follows, other=0.0).to(tl.float32)
    next_d_o = tl.load(d_o_ptr + offsets + C, mask=follows, other=0.0).to(tl.float32)
    kept = (t[:, None] == T - 1) & (channels[None, :] < C)
    d_x = g * d_o + 0.5 * next_g * next_d_o
    d_x += tl.load(d_final_ptr + i_b * C + channels[None, :] + 0 * t[:, None], mask=kept, other=0.0)
    tl.store(d_x_ptr + offsets, d_x.to(d_x_ptr.dtype.element_ty), mask=inside)
    d_g = d_o * _sums(x_ptr + i_b * T * C, s_ptr + i_b * C, t, channels, T, C)
    tl.store(d_g_ptr + offsets, d_g.to(d_g_ptr.dtype.element_ty), mask=inside)
    first = (t[:, None] == 0) & (channels[None, :] < C)
    tl.store(d_s_ptr + i_b * C + channels[None, :] + 0 * t[:, None], 0.5 * g * d_o, mask=first)


def forward(x, g, *, state, tuning):
    B, T, H, D = x.shape
    x, g, initial = x.contiguous(), g.contiguous(), state[0].contiguous()
    output, final = torch.empty_like(x), torch.empty_like(initial)
    _forward_kernel[(triton.cdiv(T, tuning["BLOCK_T"]), triton.cdiv(H * D, tuning["BLOCK_C"]), B)](
        x, g, initial, output, final, T, H * D, tuning["BLOCK_T"], tuning["BLOCK_C"],
        num_warps=tuning["num_warps"],
    )
    return output, (final,), (x, g, initial)


def backward(residuals, d_output, d_state, *, needs, tuning):
    x, g, initial = residuals
    B, T, H, D = x.shape
    d_output, d_final = d_output.contiguous(), d_state[0].contiguous()
    d_x, d_g, d_initial = torch.empty_like(x), torch.empty_like(g), torch.empty_like(initial)
    _backward_kernel[(triton.cdiv(T, tuning["BLOCK_T"]), triton.cdiv(H * D, tuning["BLOCK_C"]), B)](
        x, g, initial, d_output, d_final, d_x, d_g, d_initial, T, H * D,
        tuning["BLOCK_T"], tuning["BLOCK_C"], num_warps=tuning["num_warps"],
    )
    return d_x, d_g, d_initial
