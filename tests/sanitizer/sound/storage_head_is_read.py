"""A view that starts inside its storage, whose first lane has no element before it."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "x": {"shape": [32], "offset": 16, "storage": 48},
        "out": {"shape": [32], "empty": True, "result": True},
    },
    "launches": [
        {
            "kernel": "difference",
            "grid": (1, 1, 1),
            "arguments": {"x_ptr": "x", "out_ptr": "out", "BLOCK": 32},
        },
    ],
}


@triton.jit
def difference(x_ptr, out_ptr, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    before = tl.load(x_ptr + at - 1, mask=at > 0, other=0.0)
    tl.store(out_ptr + at, tl.load(x_ptr + at) - before)
