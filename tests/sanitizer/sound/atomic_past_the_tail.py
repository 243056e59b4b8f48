"""A histogram that leaves out what has no bin."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "x": {"shape": [32], "dtype": "int32", "modulo": 9},
        "bins": {"shape": [8], "dtype": "int32", "zeros": True},
    },
    "launches": [
        {
            "kernel": "count",
            "grid": (2, 1, 1),
            "arguments": {"x_ptr": "x", "bins_ptr": "bins", "bins": 8, "BLOCK": 16},
        },
    ],
}


@triton.jit
def count(x_ptr, bins_ptr, bins, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    which = tl.load(x_ptr + at)
    tl.atomic_add(bins_ptr + which, 1, mask=which < bins)
