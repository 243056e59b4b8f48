"""A block pointer whose corner is a product in int32, as block pointers take it: it wraps."""

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
            "arguments": {"x_ptr": "x", "out_ptr": "out", "n": 2800040000, "stride": 40000, "C": 16},
        },
    ],
    "event": "offset overflow",
    "argument": "x_ptr",
    "also": ["out-of-bounds load"],
    "last_triton": (3, 8),
}


@triton.jit
def row_of(x_ptr, out_ptr, n, stride, C: tl.constexpr):
    row = tl.program_id(0)
    first = row * stride  # DEFECT
    source = tl.make_block_ptr(x_ptr, (n,), (1,), (first,), (C,), (0,))
    tl.store(out_ptr + tl.arange(0, C), tl.load(source))
