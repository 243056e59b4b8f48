"""Pairs of float16 read as one int32, starting at an odd element."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "x": {"shape": [36], "dtype": "float16"},
        "out": {"shape": [16], "dtype": "int32", "empty": True, "result": True},
    },
    "launches": [
        {
            "kernel": "pairs",
            "grid": (1, 1, 1),
            "arguments": {"x_ptr": "x", "out_ptr": "out", "first": 3, "BLOCK": 16},
        },
    ],
    "event": "misaligned",
    "argument": "x_ptr",
}


@triton.jit
def pairs(x_ptr, out_ptr, first, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    pairs_ptr = (x_ptr + first).to(tl.pointer_type(tl.int32))
    tl.store(out_ptr + at, tl.load(pairs_ptr + at))  # DEFECT
