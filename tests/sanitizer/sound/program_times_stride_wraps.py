"""A row's offset as a product in int64."""

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
}


@triton.jit
def row_of(x_ptr, out_ptr, stride, C: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, C)
    first = row * stride
    tl.store(out_ptr + at, tl.load(x_ptr + first + at))
