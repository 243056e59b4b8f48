"""A total of int32 lengths that wraps to a place inside of the tensor."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "lengths": {"shape": [4], "dtype": "int32", "values": [2147483647, 2147483647, 1, 15]},
        "x": {"shape": [5000000000], "dtype": "int8", "virtual": True},
        "out": {"shape": [4], "dtype": "int8", "empty": True, "result": True},
    },
    "launches": [
        {
            "kernel": "after_all",
            "grid": (1, 1, 1),
            "arguments": {"lengths_ptr": "lengths", "x_ptr": "x", "out_ptr": "out", "N": 4},
        },
    ],
    "event": "offset overflow",
    "argument": "x_ptr",
}


@triton.jit
def after_all(lengths_ptr, x_ptr, out_ptr, N: tl.constexpr):
    at = tl.arange(0, N)
    lengths = tl.load(lengths_ptr + at)
    total = tl.sum(lengths, 0)  # DEFECT
    tl.store(out_ptr + at, tl.load(x_ptr + total + at))
