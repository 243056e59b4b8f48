"""An accumulator in global memory that is read before anything was written to it."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "x": {"shape": [32]},
        "sums": {"shape": [32], "empty": True, "result": True},
    },
    "launches": [
        {
            "kernel": "accumulate",
            "grid": (1, 1, 1),
            "arguments": {"x_ptr": "x", "sums_ptr": "sums", "BLOCK": 32},
        },
    ],
    "event": "never-written read",
    "argument": "sums_ptr",
}


@triton.jit
def accumulate(x_ptr, sums_ptr, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    old = tl.load(sums_ptr + at)  # DEFECT
    tl.store(sums_ptr + at, old + tl.load(x_ptr + at))
