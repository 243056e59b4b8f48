"""Partial sums in float32, added atomically: the sum depends on the order of programs."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "x": {"shape": [64]},
        "sum": {"shape": [1], "dtype": "float32", "zeros": True, "result": True},
    },
    "launches": [
        {
            "kernel": "total",
            "grid": (4, 1, 1),
            "arguments": {"x_ptr": "x", "sum_ptr": "sum", "BLOCK": 16},
        },
    ],
    "event": "float atomic",
    "argument": "sum_ptr",
}


@triton.jit
def total(x_ptr, sum_ptr, BLOCK: tl.constexpr):
    value = tl.load(x_ptr + tl.program_id(0) * BLOCK + tl.arange(0, BLOCK))
    tl.atomic_add(sum_ptr, tl.sum(value, axis=0))  # DEFECT
