"""The same offset in int64."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "x": {"shape": [66000, 65536], "dtype": "int8", "virtual": True},
        "out": {"shape": [16], "dtype": "int8", "empty": True, "result": True},
    },
    "launches": [
        {
            "kernel": "row_of",
            "grid": (66000, 1, 1),
            "programs": [65999],
            "arguments": {"x_ptr": "x", "out_ptr": "out", "stride": 65536, "C": 16},
        },
    ],
}


@triton.jit
def row_of(x_ptr, out_ptr, stride, C: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, C)
    first = row * stride
    tl.store(out_ptr + at, tl.load(x_ptr + first + at))
