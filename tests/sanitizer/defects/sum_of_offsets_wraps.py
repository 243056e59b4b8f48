"""Two offsets that each fit int32, and whose sum does not."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "x": {"shape": [2, 1200000000], "dtype": "int8", "virtual": True},
        "out": {"shape": [16], "dtype": "int8", "empty": True, "result": True},
    },
    "launches": [
        {
            "kernel": "cell",
            "grid": (1, 1, 1),
            "arguments": {"x_ptr": "x", "out_ptr": "out", "row": 1200000000, "column": 1100000000, "C": 16},
        },
    ],
    "event": "offset overflow",
    "argument": "x_ptr",
    "also": ["out-of-bounds load"],
}


@triton.jit
def cell(x_ptr, out_ptr, row, column, C: tl.constexpr):
    at = tl.arange(0, C)
    first = row + column  # DEFECT
    value = tl.load(x_ptr + first + at)
    tl.store(out_ptr + at, value)
