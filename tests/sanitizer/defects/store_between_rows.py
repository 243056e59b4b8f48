"""Rows of 24 elements, 32 apart: the store writes a whole block of 32 and so into the padding."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "x": {"shape": [4, 32]},
        "out": {"shape": [4, 24], "strides": [32, 1], "storage": 128, "zeros": True},
    },
    "launches": [
        {
            "kernel": "copy",
            "grid": (4, 1, 1),
            "arguments": {"x_ptr": "x", "out_ptr": "out", "stride": 32, "C": 24, "BC": 32},
        },
    ],
    "event": "outside the view",
    "argument": "out_ptr",
}


@triton.jit
def copy(x_ptr, out_ptr, stride, C, BC: tl.constexpr):
    columns = tl.arange(0, BC)
    value = tl.load(x_ptr + tl.program_id(0) * BC + columns)
    tl.store(out_ptr + tl.program_id(0) * stride + columns, value, mask=columns < stride)  # DEFECT
