"""A row's offset as the product of two int32: beyond 2^31 elements it wraps and points before the tensor."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "x": {"shape": [70001, 40000], "dtype": "int8", "virtual": True},
        "out": {"shape": [16], "dtype": "int8", "empty": True, "result": True},
    },
    "launches": [
        {
            "kernel": "row_of",
            "grid": (70001, 1, 1),
            "programs": [70000],
            "arguments": {"x_ptr": "x", "out_ptr": "out", "stride": 40000, "C": 16},
        },
    ],
    "event": "offset overflow",
    "argument": "x_ptr",
    "also": ["out-of-bounds load"],
}


@triton.jit
def row_of(x_ptr, out_ptr, stride, C: tl.constexpr):
    row = tl.program_id(0)
    at = tl.arange(0, C)
    first = row * stride  # DEFECT
    tl.store(out_ptr + at, tl.load(x_ptr + first + at))
