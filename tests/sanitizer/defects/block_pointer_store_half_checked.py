"""A block pointer whose store checks the columns and not the rows."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "x": {"shape": [5, 16]},
        "out": {"shape": [5, 16], "empty": True, "result": True},
    },
    "launches": [
        {
            "kernel": "copy",
            "grid": (1, 1, 1),
            "arguments": {"x_ptr": "x", "out_ptr": "out", "R": 5, "C": 16, "BR": 8},
        },
    ],
    "event": "out-of-bounds store",
    "argument": "out_ptr",
    "last_triton": (3, 8),
}


@triton.jit
def copy(x_ptr, out_ptr, R, C: tl.constexpr, BR: tl.constexpr):
    source = tl.make_block_ptr(x_ptr, (R, C), (C, 1), (0, 0), (BR, C), (1, 0))
    target = tl.make_block_ptr(out_ptr, (R, C), (C, 1), (0, 0), (BR, C), (1, 0))
    tile = tl.load(source, boundary_check=(0, 1))
    tl.store(target, tile, boundary_check=(1,))  # DEFECT
