"""A view of the first 50 elements of a storage of 64, masked by its length."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "x": {"shape": [50], "storage": 64},
        "out": {"shape": [1], "empty": True, "result": True},
    },
    "launches": [
        {
            "kernel": "largest",
            "grid": (1, 1, 1),
            "arguments": {"x_ptr": "x", "out_ptr": "out", "n": 50, "BLOCK": 64},
        },
    ],
}


@triton.jit
def largest(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    value = tl.load(x_ptr + at, mask=at < n, other=-float("inf"))
    tl.store(out_ptr, tl.max(value, axis=0))
