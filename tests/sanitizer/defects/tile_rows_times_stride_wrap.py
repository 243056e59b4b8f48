"""A tile of rows times an int32 stride: the rows beyond 2^31 elements wrap, the others do not."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "x": {"shape": [53700, 40000], "dtype": "int8", "virtual": True},
        "out": {"shape": [16, 16], "dtype": "int8", "empty": True, "result": True},
    },
    "launches": [
        {
            "kernel": "tile_of",
            "grid": (3356, 1, 1),
            "programs": [3355],
            "arguments": {"x_ptr": "x", "out_ptr": "out", "stride": 40000, "R": 16, "C": 16},
        },
    ],
    "event": "offset overflow",
    "argument": "x_ptr",
    "also": ["out-of-bounds load"],
}


@triton.jit
def tile_of(x_ptr, out_ptr, stride, R: tl.constexpr, C: tl.constexpr):
    rows = tl.program_id(0) * R + tl.arange(0, R)
    columns = tl.arange(0, C)[None, :]
    first = rows[:, None] * stride  # DEFECT
    tile = tl.load(x_ptr + first + columns)
    tl.store(out_ptr + tl.arange(0, R)[:, None] * C + columns, tile)
