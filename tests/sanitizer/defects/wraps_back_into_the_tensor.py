"""An int32 offset that wraps round and lands inside the tensor: no bound is violated, the data are wrong."""

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
    "event": "offset overflow",
    "argument": "x_ptr",
}


@triton.jit
def row_of(x_ptr, out_ptr, stride, C: tl.constexpr):
    row = tl.program_id(0)
    at = tl.arange(0, C)
    first = row * stride  # DEFECT
    tl.store(out_ptr + at, tl.load(x_ptr + first + at))
