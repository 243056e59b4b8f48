"""A float32 pointer two bytes into an element."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "x": {"shape": [32], "bytes": 2, "storage": 33},
        "out": {"shape": [16], "empty": True, "result": True},
    },
    "launches": [
        {
            "kernel": "copy",
            "grid": (1, 1, 1),
            "arguments": {"x_ptr": "x", "out_ptr": "out", "BLOCK": 16},
        },
    ],
    "event": "misaligned",
    "argument": "x_ptr",
}


@triton.jit
def copy(x_ptr, out_ptr, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(out_ptr + at, tl.load(x_ptr + at))  # DEFECT
