"""Counts in int32, added atomically: integers may be added in any order."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "x": {"shape": [64]},
        "sum": {"shape": [1], "dtype": "int32", "zeros": True, "result": True},
    },
    "launches": [
        {
            "kernel": "total",
            "grid": (4, 1, 1),
            "arguments": {"x_ptr": "x", "sum_ptr": "sum", "BLOCK": 16},
        },
    ],
}


@triton.jit
def total(x_ptr, sum_ptr, BLOCK: tl.constexpr):
    value = tl.load(x_ptr + tl.program_id(0) * BLOCK + tl.arange(0, BLOCK))
    tl.atomic_add(sum_ptr, tl.sum((value > 0).to(tl.int32), axis=0))
