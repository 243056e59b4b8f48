"""Exponential average with a learned decay per head: S_t = exp(a) S_{t-1} + v_t, o_t = S_t.

Written as people write Triton: an associative scan with a function of the file, while loops, a learned parameter whose
gradient is reduced by a second kernel in a fixed order, early returns, comments about @torch.compile and open(file).
"""

import torch
import triton
import triton.language as tl

SPEC = {
    "contract": 1,
    "template": "free",
    "causal": True,
    "inputs": {"v": "B T H V"},
    "params": {"a": "H : log_decay"},
    "dims": {},
    "constants": {},
    "output": "B T H V",
    "state": {"S": "B H V : normal, float32"},
}
TUNING = [{"CHUNK": 16, "BLOCK_V": 32, "num_warps": 4}, {"CHUNK": 32, "BLOCK_V": 64, "num_warps": 8}]


def reference(v, a, *, state):
    (S,) = state
    outputs = []
    for t in range(v.shape[1]):
        S = torch.exp(a)[None, :, None] * S + v[:, t]
        outputs.append(S)
    return torch.stack(outputs, dim=1), (S,)


def parallel(v, a, *, state):
    """All tokens at once: decay of token j at i is exp((i - j) a)."""
    (S,) = state
    T = v.shape[1]
    steps = torch.arange(T, device=v.device)
    ages = (steps[:, None] - steps[None, :]).clamp(min=0)
    causal = torch.ones(T, T, dtype=torch.bool, device=v.device).tril()
    decay = torch.where(causal[None], torch.exp(ages[None] * a[:, None, None]), 0.0)
    since = torch.exp((steps[:, None] + 1) * a[None, :])
    output = torch.einsum("hij,bjhv->bihv", decay.to(S.dtype), v.to(S.dtype)) + since[None, :, :, None] * S[:, None]
    return output.to(v.dtype), (output[:, -1],)


@triton.jit
def _compose(log_1, value_1, log_2, value_2):
    """First one step of the recurrence, then the other; logarithms, since products of decays lose digits."""
    return log_1 + log_2, value_1 * tl.exp(log_2) + value_2


@triton.jit
def _forward_kernel(
    v_ptr, a_ptr, s_ptr, o_ptr, all_ptr, final_ptr, T, H, V, CHUNK: tl.constexpr, BLOCK_V: tl.constexpr
):
    i_bh = tl.program_id(0)
    columns = tl.program_id(1) * BLOCK_V + tl.arange(0, BLOCK_V)
    rows = tl.arange(0, CHUNK)
    a = tl.load(a_ptr + i_bh % H)
    carry = tl.load(s_ptr + i_bh * V + columns, mask=columns < V, other=0.0)
    start = 0
    while start < T:
        at = (((i_bh // H) * T + start + rows[:, None]) * H + i_bh % H) * V + columns[None, :]
        mask = (start + rows[:, None] < T) & (columns[None, :] < V)
        v = tl.load(v_ptr + at, mask=mask, other=0.0)
        logs = tl.full((CHUNK, BLOCK_V), 1.0, tl.float32) * a
        total, added = tl.associative_scan((logs, v.to(tl.float32)), 0, _compose)
        states = added + tl.exp(total) * carry[None, :]
        tl.store(o_ptr + at, states.to(v.dtype), mask=mask)
        tl.store(all_ptr + at, states, mask=mask)
        last = min(T - start, CHUNK) - 1
        carry = tl.sum(tl.where(rows[:, None] == last, states, 0.0), 0)
        start += CHUNK
    tl.store(final_ptr + i_bh * V + columns, carry, mask=columns < V)


@triton.jit
def _backward_kernel(
    d_o_ptr, d_final_ptr, a_ptr, s_ptr, all_ptr, d_v_ptr, d_s_ptr, parts_ptr, T, H, V,
    CHUNK: tl.constexpr, BLOCK_V: tl.constexpr,
):
    i_bh = tl.program_id(0)
    i_v = tl.program_id(1)
    columns = i_v * BLOCK_V + tl.arange(0, BLOCK_V)
    rows = tl.arange(0, CHUNK)
    a = tl.load(a_ptr + i_bh % H)
    initial = tl.load(s_ptr + i_bh * V + columns, mask=columns < V, other=0.0)
    carry = tl.load(d_final_ptr + i_bh * V + columns, mask=columns < V, other=0.0)
    part = tl.zeros((BLOCK_V,), dtype=tl.float32)
    for chunk in range(tl.cdiv(T, CHUNK)):
        t = (tl.cdiv(T, CHUNK) - 1 - chunk) * CHUNK + rows
        at = (((i_bh // H) * T + t[:, None]) * H + i_bh % H) * V + columns[None, :]
        mask = (t[:, None] < T) & (columns[None, :] < V)
        d_o = tl.load(d_o_ptr + at, mask=mask, other=0.0)
        logs = tl.where(mask, a, 0.0)
        passed, added = tl.associative_scan((logs, d_o.to(tl.float32)), 0, _compose, reverse=True)
        total = tl.where(mask, added + tl.exp(passed - a) * carry[None, :], 0.0)
        tl.store(d_v_ptr + at, total.to(d_o.dtype), mask=mask)
        before = tl.load(all_ptr + at - H * V, mask=mask & (t[:, None] > 0), other=0.0)
        before = tl.where(t[:, None] > 0, before, initial[None, :])
        part += tl.sum(tl.where(mask, total * before, 0.0), 0)
        carry = tl.exp(a) * tl.sum(tl.where(rows[:, None] == 0, total, 0.0), 0)
    tl.store(d_s_ptr + i_bh * V + columns, carry, mask=columns < V)
    tl.store(parts_ptr + i_bh * tl.num_programs(1) + i_v, tl.exp(a) * tl.sum(part, 0))


@triton.jit
def _reduce_kernel(parts_ptr, d_a_ptr, B, H, TILES):
    """One program adds the parts of one head, always in the same order."""
    i_h = tl.program_id(0)
    total = 0.0
    for i_b in range(B):
        for i_v in range(TILES):
            total += tl.load(parts_ptr + (i_b * H + i_h) * TILES + i_v)
    tl.store(d_a_ptr + i_h, total)


def forward(v, a, *, state, tuning):
    v, initial = v.contiguous(), state[0].contiguous()
    B, T, H, V = v.shape
    output = torch.empty_like(v)
    states = torch.empty(v.shape, dtype=torch.float32, device=v.device)
    final = torch.empty_like(initial)
    _forward_kernel[(B * H, triton.cdiv(V, tuning["BLOCK_V"]))](
        v, a.contiguous(), initial, output, states, final, T, H, V,
        CHUNK=tuning["CHUNK"], BLOCK_V=tuning["BLOCK_V"], num_warps=tuning["num_warps"],
    )
    return output, (final,), (a, initial, states)


def backward(residuals, d_output, d_state, *, needs, tuning):
    a, initial, states = residuals
    d_output = d_output.contiguous()
    B, T, H, V = d_output.shape
    tiles = triton.cdiv(V, tuning["BLOCK_V"])
    d_v = torch.empty_like(d_output)
    d_initial = torch.empty_like(initial)
    parts = torch.empty((B * H, tiles), dtype=torch.float32, device=d_output.device)
    _backward_kernel[(B * H, tiles)](
        d_output, d_state[0].contiguous(), a.contiguous(), initial, states, d_v, d_initial, parts, T, H, V,
        CHUNK=tuning["CHUNK"], BLOCK_V=tuning["BLOCK_V"], num_warps=tuning["num_warps"],
    )
    if not needs[1]:
        return d_v, None, d_initial
    d_a = torch.empty_like(a)
    _reduce_kernel[(H,)](parts, d_a, B, H, tiles)
    return d_v, d_a, d_initial
