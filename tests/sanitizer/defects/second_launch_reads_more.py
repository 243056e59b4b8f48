"""The first launch writes all but the ragged tail of a scratch tensor; the second reads it whole."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "x": {"shape": [70]},
        "scratch": {"shape": [70], "empty": True},
        "out": {"shape": [70], "empty": True, "result": True},
    },
    "launches": [
        {
            "kernel": "square",
            "grid": (2, 1, 1),
            "arguments": {"x_ptr": "x", "scratch_ptr": "scratch", "n": 70, "BLOCK": 32},
        },
        {
            "kernel": "copy",
            "grid": (3, 1, 1),
            "arguments": {"scratch_ptr": "scratch", "out_ptr": "out", "n": 70, "BLOCK": 32},
        },
    ],
    "event": "never-written read",
    "argument": "scratch_ptr",
}


@triton.jit
def square(x_ptr, scratch_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x_ptr + at, mask=at < n)
    tl.store(scratch_ptr + at, value * value, mask=at < n)


@triton.jit
def copy(scratch_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(scratch_ptr + at, mask=at < n)  # DEFECT
    tl.store(out_ptr + at, value, mask=at < n)
