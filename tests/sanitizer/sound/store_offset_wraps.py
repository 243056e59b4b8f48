"""A store whose offset is int64."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "x": {"shape": [16], "dtype": "int8"},
        "out": {"shape": [60000, 40000], "dtype": "int8", "virtual": True},
    },
    "launches": [
        {
            "kernel": "fill",
            "grid": (60000, 1, 1),
            "programs": [59999],
            "arguments": {"x_ptr": "x", "out_ptr": "out", "stride": 40000, "C": 16},
        },
    ],
}


@triton.jit
def fill(x_ptr, out_ptr, stride, C: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, C)
    first = row * stride
    tl.store(out_ptr + first + at, tl.load(x_ptr + at))
