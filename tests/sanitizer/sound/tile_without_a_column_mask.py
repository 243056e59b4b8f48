"""A row sum whose padded columns are masked."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "x": {"shape": [4, 24]},
        "out": {"shape": [4], "empty": True, "result": True},
    },
    "launches": [
        {
            "kernel": "row_sum",
            "grid": (1, 1, 1),
            "arguments": {"x_ptr": "x", "out_ptr": "out", "C": 24, "R": 4, "BC": 32},
        },
    ],
}


@triton.jit
def row_sum(x_ptr, out_ptr, C, R: tl.constexpr, BC: tl.constexpr):
    rows = tl.arange(0, R)
    columns = tl.arange(0, BC)[None, :]
    tile = tl.load(x_ptr + rows[:, None] * C + columns, mask=columns < C, other=0.0)
    tl.store(out_ptr + rows, tl.sum(tl.where(columns < C, tile, 0.0), axis=1))
