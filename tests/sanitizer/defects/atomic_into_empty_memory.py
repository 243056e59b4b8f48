"""Integers added atomically into a tensor that was allocated and not set to zero."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "x": {"shape": [32], "dtype": "int32", "modulo": 8},
        "bins": {"shape": [8], "dtype": "int32", "empty": True, "result": True},
    },
    "launches": [
        {
            "kernel": "count",
            "grid": (1, 1, 1),
            "arguments": {"x_ptr": "x", "bins_ptr": "bins", "BLOCK": 32},
        },
    ],
    "event": "never-written read",
    "argument": "bins_ptr",
}


@triton.jit
def count(x_ptr, bins_ptr, BLOCK: tl.constexpr):
    which = tl.load(x_ptr + tl.arange(0, BLOCK))
    tl.atomic_add(bins_ptr + which, 1)  # DEFECT
