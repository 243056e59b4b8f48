"""Offsets in int64, narrowed to int32 before they are used."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "x": {"shape": [5, 2147483647], "dtype": "int8", "virtual": True},
        "out": {"shape": [4], "dtype": "int8", "empty": True, "result": True},
    },
    "launches": [
        {
            "kernel": "column",
            "grid": (1, 1, 1),
            "arguments": {"x_ptr": "x", "out_ptr": "out", "stride": 2147483647, "ROWS": 4},
        },
    ],
    "event": "offset overflow",
    "argument": "x_ptr",
}


@triton.jit
def column(x_ptr, out_ptr, stride, ROWS: tl.constexpr):
    row = tl.arange(0, ROWS)
    offset = row.to(tl.int64) * stride + 40
    offset = offset.to(tl.int32)  # DEFECT
    tl.store(out_ptr + row, tl.load(x_ptr + offset, mask=(row % 2 == 0), other=0))
