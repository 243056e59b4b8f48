"""Every program stores its own partial sum as the total."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "x": {"shape": [64]},
        "partial": {"shape": [4], "empty": True},
        "out": {"shape": [1], "empty": True, "result": True},
    },
    "launches": [
        {
            "kernel": "partials",
            "grid": (4, 1, 1),
            "arguments": {"x_ptr": "x", "out_ptr": "out", "BLOCK": 16},
        },
        {
            "kernel": "add_up",
            "grid": (1, 1, 1),
            "arguments": {"partial_ptr": "x", "out_ptr": "out", "PARTS": 4},
        },
    ],
    "event": "conflict between programs",
    "argument": "out_ptr",
}


@triton.jit
def partials(x_ptr, out_ptr, BLOCK: tl.constexpr):
    value = tl.load(x_ptr + tl.program_id(0) * BLOCK + tl.arange(0, BLOCK))
    tl.store(out_ptr, tl.sum(value, axis=0))  # DEFECT


@triton.jit
def add_up(partial_ptr, out_ptr, PARTS: tl.constexpr):
    tl.store(out_ptr, tl.sum(tl.load(partial_ptr + tl.arange(0, PARTS)), axis=0))
