"""A matrix whose store is masked with its sizes exchanged."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "x": {"shape": [8, 16]},
        "out": {"shape": [8, 16], "zeros": True},
    },
    "launches": [
        {
            "kernel": "double",
            "grid": (1, 1, 1),
            "arguments": {"x_ptr": "x", "out_ptr": "out", "R": 8, "C": 16, "B": 16},
        },
    ],
    "event": "out-of-bounds store",
    "argument": "out_ptr",
}


@triton.jit
def double(x_ptr, out_ptr, R, C, B: tl.constexpr):
    rows, columns = tl.arange(0, B)[:, None], tl.arange(0, B)[None, :]
    at = rows * C + columns
    tile = tl.load(x_ptr + at, mask=(rows < R) & (columns < C), other=0.0)
    tl.store(out_ptr + at, tile + tile, mask=(rows < C) & (columns < R))  # DEFECT
