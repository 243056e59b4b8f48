"""Bits of a generator that wraps, brought into range by a remainder before they are an offset."""

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
}


@triton.jit
def sample(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    bits = at * 1664525 + 1013904223
    bits = bits * 1664525 + 1013904223
    value = tl.load(x_ptr + ((bits % n) + n) % n)
    tl.store(out_ptr + at, value)
