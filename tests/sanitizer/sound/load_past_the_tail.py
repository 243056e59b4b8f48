"""A copy whose loads and stores stop at the tensor's end."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "x": {"shape": [100]},
        "out": {"shape": [100], "empty": True, "result": True},
    },
    "launches": [
        {
            "kernel": "copy",
            "grid": (4, 1, 1),
            "arguments": {"x_ptr": "x", "out_ptr": "out", "n": 100, "BLOCK": 32},
        },
    ],
}


@triton.jit
def copy(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x_ptr + at, mask=at < n)
    tl.store(out_ptr + at, value, mask=at < n)
