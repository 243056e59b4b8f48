"""A row is scaled in place and then read back in reverse."""

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
    "event": "missing barrier",
    "argument": "x_ptr",
}


@triton.jit
def reverse(x_ptr, out_ptr, C: tl.constexpr):
    at = tl.arange(0, C)
    tl.store(x_ptr + at, tl.load(x_ptr + at) * 2)  # OTHER
    back = tl.load(x_ptr + C - 1 - at)  # DEFECT
    tl.store(out_ptr + at, back)
