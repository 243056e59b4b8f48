# expect: SUB-TRIVIAL: a sum of one input, which any averaging layer computes
"""Running sum: o_t = v_1 + ... + v_t, S_t = o_t. The smallest honest mechanism with a state.

The comments and docstrings below mention torch.matmul, os.environ and x.item() on purpose: words are not calls.
"""

import torch
import triton
import triton.language as tl

SPEC = {
    "contract": 1,
    "template": "free",
    "causal": True,
    "inputs": {"v": "B T H V"},
    "params": {},
    "dims": {},
    "constants": {},
    "output": "B T H V",
    "state": {"S": "B H V : normal, float32"},
}
TUNING = [{"BLOCK_V": 32, "num_warps": 2}, {"BLOCK_V": 64, "num_warps": 4}]


def reference(v: torch.Tensor, *, state: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    """The definition; torch.einsum or `open` are not needed here."""
    (S,) = state
    output = S[:, None] + torch.cumsum(v, dim=1)
    return output, (output[:, -1],)


@triton.jit
def _forward_kernel(v_ptr, s_ptr, o_ptr, final_ptr, T, H, V, BLOCK_V: tl.constexpr):
    """One program sums one head's tile of V; no os.environ, no torch.matmul."""
    i_bh = tl.program_id(0)
    columns = tl.program_id(1) * BLOCK_V + tl.arange(0, BLOCK_V)
    mask = columns < V
    total = tl.load(s_ptr + i_bh * V + columns, mask=mask, other=0.0)
    for t in range(0, T):
        row = (((i_bh // H) * T + t) * H + i_bh % H) * V
        v = tl.load(v_ptr + row + columns, mask=mask, other=0.0)
        total += v.to(tl.float32)
        tl.store(o_ptr + row + columns, total.to(v.dtype), mask=mask)
    tl.store(final_ptr + i_bh * V + columns, total, mask=mask)


@triton.jit
def _backward_kernel(d_o_ptr, d_final_ptr, d_v_ptr, d_s_ptr, T, H, V, BLOCK_V: tl.constexpr):
    i_bh = tl.program_id(0)
    columns = tl.program_id(1) * BLOCK_V + tl.arange(0, BLOCK_V)
    mask = columns < V
    total = tl.load(d_final_ptr + i_bh * V + columns, mask=mask, other=0.0)
    for step in range(0, T):
        t = T - 1 - step
        row = (((i_bh // H) * T + t) * H + i_bh % H) * V
        d_o = tl.load(d_o_ptr + row + columns, mask=mask, other=0.0)
        total += d_o.to(tl.float32)
        tl.store(d_v_ptr + row + columns, total.to(d_o.dtype), mask=mask)
    tl.store(d_s_ptr + i_bh * V + columns, total, mask=mask)


def _grid(rows: int, columns: int, block: int) -> tuple[int, int]:
    """Programs along rows and along tiles of columns."""
    return rows, triton.cdiv(columns, block)


def forward(v, *, state, tuning):
    # A call of reference(v, state=state) here would be refused; a comment is not a call.
    v, initial = v.contiguous(), state[0].contiguous()
    B, T, H, V = v.shape
    output = torch.empty_like(v)
    final = torch.empty_like(initial)
    grid = _grid(B * H, V, tuning["BLOCK_V"])
    _forward_kernel[grid](
        v, initial, output, final, T, H, V, BLOCK_V=tuning["BLOCK_V"], num_warps=tuning["num_warps"]
    )
    return output, (final,), ()


def backward(residuals, d_output, d_state, *, needs, tuning):
    d_output, d_final = d_output.contiguous(), d_state[0].contiguous()
    B, T, H, V = d_output.shape
    d_v = torch.empty_like(d_output)
    d_initial = torch.empty_like(d_final)
    grid = _grid(B * H, V, tuning["BLOCK_V"])
    _backward_kernel[grid](
        d_output, d_final, d_v, d_initial, T, H, V, BLOCK_V=tuning["BLOCK_V"], num_warps=tuning["num_warps"]
    )
    return d_v, d_initial
