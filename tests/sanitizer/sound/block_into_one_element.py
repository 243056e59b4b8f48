"""The sum of a block stored through a pointer to one element."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "x": {"shape": [16]},
        "out": {"shape": [1], "empty": True, "result": True},
    },
    "launches": [
        {
            "kernel": "total",
            "grid": (1, 1, 1),
            "arguments": {"x_ptr": "x", "out_ptr": "out", "BLOCK": 16},
        },
    ],
}


@triton.jit
def total(x_ptr, out_ptr, BLOCK: tl.constexpr):
    value = tl.load(x_ptr + tl.arange(0, BLOCK))
    tl.store(out_ptr, tl.sum(value, axis=0))
