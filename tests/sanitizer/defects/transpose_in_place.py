"""A matrix transposed in place, a tile by each program: the mirrored tile belongs to another program."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "x": {"shape": [32, 32], "result": True},
    },
    "launches": [
        {
            "kernel": "transpose",
            "grid": (2, 2, 1),
            "arguments": {"x_ptr": "x", "B": 16},
        },
    ],
    "event": "read-write conflict",
    "argument": "x_ptr",
}


@triton.jit
def transpose(x_ptr, B: tl.constexpr):
    row, column = tl.program_id(0), tl.program_id(1)
    i, j = tl.arange(0, B)[:, None], tl.arange(0, B)[None, :]
    here = (row * B + i) * 2 * B + column * B + j
    there = (column * B + i) * 2 * B + row * B + j
    tile = tl.load(x_ptr + there)  # OTHER
    tl.store(x_ptr + here, tl.trans(tile))  # DEFECT
