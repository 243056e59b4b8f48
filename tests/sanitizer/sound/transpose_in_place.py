"""A matrix transposed in place, each program exchanging a pair of tiles."""

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
}


@triton.jit
def transpose(x_ptr, B: tl.constexpr):
    row, column = tl.program_id(0), tl.program_id(1)
    i, j = tl.arange(0, B)[:, None], tl.arange(0, B)[None, :]
    here = (row * B + i) * 2 * B + column * B + j
    there = (column * B + i) * 2 * B + row * B + j
    if row <= column:
        tile, mirrored = tl.load(x_ptr + here), tl.load(x_ptr + there)
        tl.debug_barrier()
        tl.store(x_ptr + here, tl.trans(mirrored))
        tl.debug_barrier()
        tl.store(x_ptr + there, tl.trans(tile))
