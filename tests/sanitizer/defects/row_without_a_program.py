"""Programs that skip the row they have nothing to add to: that row of the result is never written."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "x": {"shape": [4, 16]},
        "out": {"shape": [4, 16], "empty": True, "result": True},
    },
    "launches": [
        {
            "kernel": "shift_rows",
            "grid": (4, 1, 1),
            "arguments": {"x_ptr": "x", "out_ptr": "out", "C": 16},
        },
    ],
    "event": "uncovered output",
    "argument": "out_ptr",
}


@triton.jit
def shift_rows(x_ptr, out_ptr, C: tl.constexpr):
    row = tl.program_id(0)
    at = tl.arange(0, C)
    if row > 0:
        tl.store(out_ptr + row * C + at, tl.load(x_ptr + (row - 1) * C + at))  # DEFECT
