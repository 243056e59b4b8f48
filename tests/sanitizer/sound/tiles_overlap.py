"""Tiles that advance by their length."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "x": {"shape": [64]},
        "out": {"shape": [64], "zeros": True},
    },
    "launches": [
        {
            "kernel": "shift",
            "grid": (4, 1, 1),
            "arguments": {"x_ptr": "x", "out_ptr": "out", "STEP": 16, "BLOCK": 16},
        },
    ],
}


@triton.jit
def shift(x_ptr, out_ptr, STEP: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0) * STEP + tl.arange(0, BLOCK)
    value = tl.load(x_ptr + at)
    tl.store(out_ptr + at, tl.cumsum(value, axis=0))
