"""A pointer that is moved in int64 first, and a block pointer that starts there."""

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
    "last_triton": (3, 8),
}


@triton.jit
def row_of(x_ptr, out_ptr, n, stride, C: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    first = row * stride
    source = tl.make_block_ptr(x_ptr + first, (n - first,), (1,), (0,), (C,), (0,))
    tl.store(out_ptr + tl.arange(0, C), tl.load(source))
