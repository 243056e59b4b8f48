"""A pointer that is advanced in int64, and a block pointer that starts there."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "x": {"shape": [3, 1000000000], "dtype": "int8", "virtual": True},
        "out": {"shape": [16], "dtype": "int8", "empty": True, "result": True},
    },
    "launches": [
        {
            "kernel": "third",
            "grid": (1, 1, 1),
            "arguments": {"x_ptr": "x", "out_ptr": "out", "n": 3000000000, "step": 1200000000, "C": 16},
        },
    ],
    "last_triton": (3, 7),
}


@triton.jit
def third(x_ptr, out_ptr, n, step, C: tl.constexpr):
    source = tl.make_block_ptr(x_ptr + step + step, (n,), (1,), (0,), (C,), (0,))
    tl.store(out_ptr + tl.arange(0, C), tl.load(source))
