"""A row is scaled in place, element by element by the lane that read it, and reversed into another tensor."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "x": {"shape": [32], "result": True},
        "out": {"shape": [32], "empty": True, "result": True},
    },
    "launches": [
        {
            "kernel": "reverse",
            "grid": (1, 1, 1),
            "arguments": {"x_ptr": "x", "out_ptr": "out", "C": 32},
        },
    ],
}


@triton.jit
def reverse(x_ptr, out_ptr, C: tl.constexpr):
    at = tl.arange(0, C)
    tl.store(x_ptr + at, tl.load(x_ptr + at) * 2)
    same = tl.load(x_ptr + at)
    tl.store(out_ptr + C - 1 - at, same)
