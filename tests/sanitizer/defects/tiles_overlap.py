"""Tiles that advance by less than their length, and write values that depend on the tile."""

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
            "grid": (5, 1, 1),
            "arguments": {"x_ptr": "x", "out_ptr": "out", "STEP": 12, "BLOCK": 16},
        },
    ],
    "event": "conflict between programs",
    "argument": "out_ptr",
}


@triton.jit
def shift(x_ptr, out_ptr, STEP: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0) * STEP + tl.arange(0, BLOCK)
    value = tl.load(x_ptr + at)
    tl.store(out_ptr + at, tl.cumsum(value, axis=0))  # DEFECT
