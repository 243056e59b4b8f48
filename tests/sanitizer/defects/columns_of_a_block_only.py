"""A block of columns narrower than the row, and no loop over the rest."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "x": {"shape": [3, 40]},
        "out": {"shape": [3, 40], "empty": True, "result": True},
    },
    "launches": [
        {
            "kernel": "copy",
            "grid": (3, 1, 1),
            "arguments": {"x_ptr": "x", "out_ptr": "out", "C": 40, "BC": 16},
        },
    ],
    "event": "uncovered output",
    "argument": "out_ptr",
}


@triton.jit
def copy(x_ptr, out_ptr, C, BC: tl.constexpr):
    row = tl.program_id(0) * C
    for first in range(0, BC, BC):
        columns = first + tl.arange(0, BC)
        value = tl.load(x_ptr + row + columns, mask=columns < C)
        tl.store(out_ptr + row + columns, value, mask=columns < C)  # DEFECT
