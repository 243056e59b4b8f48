"""A row's offset by a shift in int64."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "x": {"shape": [2200, 1048576], "dtype": "int8", "virtual": True},
        "out": {"shape": [16], "dtype": "int8", "empty": True, "result": True},
    },
    "launches": [
        {
            "kernel": "row_of",
            "grid": (2200, 1, 1),
            "programs": [2150],
            "arguments": {"x_ptr": "x", "out_ptr": "out", "C": 16},
        },
    ],
}


@triton.jit
def row_of(x_ptr, out_ptr, C: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, C)
    first = row << 20
    tl.store(out_ptr + at, tl.load(x_ptr + first + at))
