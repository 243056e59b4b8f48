"""A two-dimensional copy that masks both dimensions."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "x": {"shape": [10, 24]},
        "out": {"shape": [10, 24], "empty": True, "result": True},
    },
    "launches": [
        {
            "kernel": "copy",
            "grid": (2, 1, 1),
            "arguments": {"x_ptr": "x", "out_ptr": "out", "R": 10, "C": 24, "BR": 8, "BC": 32},
        },
    ],
}


@triton.jit
def copy(x_ptr, out_ptr, R, C, BR: tl.constexpr, BC: tl.constexpr):
    rows = (tl.program_id(0) * BR + tl.arange(0, BR))[:, None]
    columns = (tl.program_id(1) * BC + tl.arange(0, BC))[None, :]
    inside = (rows < R) & (columns < C)
    tile = tl.load(x_ptr + rows * C + columns, mask=inside)
    tl.store(out_ptr + rows * C + columns, tile, mask=inside)
