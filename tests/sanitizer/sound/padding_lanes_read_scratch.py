"""A scratch as long as the data, read under the mask that wrote it."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "x": {"shape": [20]},
        "scratch": {"shape": [32], "empty": True},
        "out": {"shape": [20], "empty": True, "result": True},
    },
    "launches": [
        {
            "kernel": "through",
            "grid": (1, 1, 1),
            "arguments": {"x_ptr": "x", "scratch_ptr": "scratch", "out_ptr": "out", "n": 20, "BLOCK": 32},
        },
    ],
}


@triton.jit
def through(x_ptr, scratch_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(scratch_ptr + at, tl.load(x_ptr + at, mask=at < n), mask=at < n)
    value = tl.load(scratch_ptr + at, mask=at < n)
    tl.store(out_ptr + at, value, mask=at < n)
