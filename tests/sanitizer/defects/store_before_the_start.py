"""A shift to the left whose first lane writes to element -1."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "x": {"shape": [33]},
        "out": {"shape": [32], "empty": True, "result": True},
    },
    "launches": [
        {
            "kernel": "shift",
            "grid": (1, 1, 1),
            "arguments": {"x_ptr": "x", "out_ptr": "out", "n": 33, "BLOCK": 64},
        },
    ],
    "event": "out-of-bounds store",
    "argument": "out_ptr",
}


@triton.jit
def shift(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    value = tl.load(x_ptr + at, mask=at < n)
    tl.store(out_ptr + at - 1, value, mask=at < n)  # DEFECT
