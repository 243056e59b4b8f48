"""A row sum over a padded block of columns: the last row reads beyond the tensor."""

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
    "event": "out-of-bounds load",
    "argument": "x_ptr",
}


@triton.jit
def row_sum(x_ptr, out_ptr, C, R: tl.constexpr, BC: tl.constexpr):
    rows = tl.arange(0, R)
    columns = tl.arange(0, BC)[None, :]
    tile = tl.load(x_ptr + rows[:, None] * C + columns)  # DEFECT
    tl.store(out_ptr + rows, tl.sum(tl.where(columns < C, tile, 0.0), axis=1))
