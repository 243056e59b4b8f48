"""Ends of packed sequences, a running total of int32 lengths that does not fit."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "lengths": {"shape": [4], "dtype": "int32", "values": [1200000000, 1100000000, 5, 5]},
        "x": {"shape": [2, 1200000000], "dtype": "int8", "virtual": True},
        "out": {"shape": [4], "dtype": "int8", "empty": True, "result": True},
    },
    "launches": [
        {
            "kernel": "last_of_each",
            "grid": (1, 1, 1),
            "arguments": {"lengths_ptr": "lengths", "x_ptr": "x", "out_ptr": "out", "N": 4},
        },
    ],
    "event": "offset overflow",
    "argument": "x_ptr",
    "also": ["out-of-bounds load"],
}


@triton.jit
def last_of_each(lengths_ptr, x_ptr, out_ptr, N: tl.constexpr):
    at = tl.arange(0, N)
    lengths = tl.load(lengths_ptr + at)
    ends = tl.cumsum(lengths, 0)  # DEFECT
    tl.store(out_ptr + at, tl.load(x_ptr + ends - 1))
