"""Bits of a generator that wraps, scaled and used as an offset without being brought into range."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "x": {"shape": [64]},
        "out": {"shape": [16], "empty": True, "result": True},
    },
    "launches": [
        {
            "kernel": "sample",
            "grid": (1, 1, 1),
            "arguments": {"x_ptr": "x", "out_ptr": "out", "n": 64, "BLOCK": 16},
        },
    ],
    "event": "offset overflow",
    "argument": "x_ptr",
    "also": ["out-of-bounds load"],
}


@triton.jit
def sample(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    bits = at * 1664525 + 1013904223
    bits = bits * 1664525 + 1013904223  # DEFECT
    value = tl.load(x_ptr + bits)
    tl.store(out_ptr + at, value)
