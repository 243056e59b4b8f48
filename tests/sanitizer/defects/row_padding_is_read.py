"""Rows of 24 elements, 32 apart: the load takes the padding along and sums it."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "x": {"shape": [4, 24], "strides": [32, 1], "storage": 128},
        "out": {"shape": [4], "empty": True, "result": True},
    },
    "launches": [
        {
            "kernel": "row_sum",
            "grid": (4, 1, 1),
            "arguments": {"x_ptr": "x", "out_ptr": "out", "stride": 32, "C": 24, "BC": 32},
        },
    ],
    "event": "outside the view",
    "argument": "x_ptr",
}


@triton.jit
def row_sum(x_ptr, out_ptr, stride, C, BC: tl.constexpr):
    columns = tl.arange(0, BC)
    value = tl.load(x_ptr + tl.program_id(0) * stride + columns, mask=columns < stride, other=0.0)  # DEFECT
    tl.store(out_ptr + tl.program_id(0), tl.sum(value, axis=0))
