"""A grid of n // BLOCK programs: the ragged tail of the result is never written."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "x": {"shape": [70]},
        "out": {"shape": [70], "empty": True, "result": True},
    },
    "launches": [
        {
            "kernel": "copy",
            "grid": (2, 1, 1),
            "arguments": {"x_ptr": "x", "out_ptr": "out", "n": 70, "BLOCK": 32},
        },
    ],
    "event": "uncovered output",
    "argument": "out_ptr",
}


@triton.jit
def copy(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x_ptr + at, mask=at < n)
    tl.store(out_ptr + at, value, mask=at < n)  # DEFECT
