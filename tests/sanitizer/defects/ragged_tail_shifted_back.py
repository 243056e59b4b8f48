"""The last tile is shifted back to fit, and writes running sums of its own over its neighbour's."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "x": {"shape": [40]},
        "out": {"shape": [40], "empty": True, "result": True},
    },
    "launches": [
        {
            "kernel": "running",
            "grid": (3, 1, 1),
            "arguments": {"x_ptr": "x", "out_ptr": "out", "n": 40, "BLOCK": 16},
        },
    ],
    "event": "conflict between programs",
    "argument": "out_ptr",
}


@triton.jit
def running(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.minimum(tl.program_id(0) * BLOCK, n - BLOCK) + tl.arange(0, BLOCK)
    value = tl.load(x_ptr + at)
    tl.store(out_ptr + at, tl.cumsum(value, axis=0))  # DEFECT
