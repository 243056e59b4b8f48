"""A tile stored without its row stride: all rows land on one."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "x": {"shape": [4, 16]},
        "out": {"shape": [4, 16], "zeros": True},
    },
    "launches": [
        {
            "kernel": "copy",
            "grid": (1, 1, 1),
            "arguments": {"x_ptr": "x", "out_ptr": "out", "R": 4, "C": 16},
        },
    ],
    "event": "conflicting lanes",
    "argument": "out_ptr",
}


@triton.jit
def copy(x_ptr, out_ptr, R: tl.constexpr, C: tl.constexpr):
    rows, columns = tl.arange(0, R)[:, None], tl.arange(0, C)[None, :]
    tile = tl.load(x_ptr + rows * C + columns)
    tl.store(out_ptr + rows * 0 + columns, tile)  # DEFECT
