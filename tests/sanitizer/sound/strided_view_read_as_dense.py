"""Every second column of a matrix, read with both of its strides."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "x": {"shape": [4, 16], "strides": [32, 2], "storage": 128},
        "out": {"shape": [4, 16], "empty": True, "result": True},
    },
    "launches": [
        {
            "kernel": "copy",
            "grid": (4, 1, 1),
            "arguments": {"x_ptr": "x", "out_ptr": "out", "row_stride": 32, "column_stride": 2, "C": 16},
        },
    ],
}


@triton.jit
def copy(x_ptr, out_ptr, row_stride, column_stride, C: tl.constexpr):
    columns = tl.arange(0, C)
    row = x_ptr + tl.program_id(0) * row_stride
    value = tl.load(row + columns * column_stride)
    tl.store(out_ptr + tl.program_id(0) * C + columns, value)
