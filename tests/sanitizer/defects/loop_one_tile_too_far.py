"""A sum over tiles whose loop runs one tile too far."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "x": {"shape": [96]},
        "out": {"shape": [1], "empty": True, "result": True},
    },
    "launches": [
        {
            "kernel": "total",
            "grid": (1, 1, 1),
            "arguments": {"x_ptr": "x", "out_ptr": "out", "n": 96, "BLOCK": 32},
        },
    ],
    "event": "out-of-bounds load",
    "argument": "x_ptr",
}


@triton.jit
def total(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    acc = tl.zeros((BLOCK,), tl.float32)
    for tile in range(n // BLOCK + 1):
        acc += tl.load(x_ptr + tile * BLOCK + at)  # DEFECT
    tl.store(out_ptr, tl.sum(acc, axis=0))
