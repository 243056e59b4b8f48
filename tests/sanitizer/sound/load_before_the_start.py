"""A difference with the element before, where the first lane has none."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "x": {"shape": [64]},
        "out": {"shape": [64], "empty": True, "result": True},
    },
    "launches": [
        {
            "kernel": "difference",
            "grid": (2, 1, 1),
            "arguments": {"x_ptr": "x", "out_ptr": "out", "n": 64, "BLOCK": 32},
        },
    ],
}


@triton.jit
def difference(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    before = tl.load(x_ptr + at - 1, mask=(at < n) & (at > 0), other=0.0)
    tl.store(out_ptr + at, tl.load(x_ptr + at, mask=at < n) - before, mask=at < n)
