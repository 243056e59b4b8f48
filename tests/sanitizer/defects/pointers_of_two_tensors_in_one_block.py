"""A block of pointers chosen lane by lane from two tensors."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "x": {"shape": [32]},
        "y": {"shape": [32]},
        "out": {"shape": [32], "zeros": True},
    },
    "launches": [
        {
            "kernel": "choose",
            "grid": (1, 1, 1),
            "arguments": {"x_ptr": "x", "y_ptr": "y", "out_ptr": "out", "BLOCK": 32},
        },
    ],
    "event": "unknown pointer",
    "argument": "",
}


@triton.jit
def choose(x_ptr, y_ptr, out_ptr, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    first = at < BLOCK // 2
    pointers = tl.where(first, x_ptr + at, y_ptr + at)
    value = tl.load(pointers)  # DEFECT
    tl.store(out_ptr + at, value)
