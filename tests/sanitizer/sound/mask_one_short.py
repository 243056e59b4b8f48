"""A store masked by n."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "x": {"shape": [31]},
        "out": {"shape": [31], "empty": True, "result": True},
    },
    "launches": [
        {
            "kernel": "copy",
            "grid": (1, 1, 1),
            "arguments": {"x_ptr": "x", "out_ptr": "out", "n": 31, "BLOCK": 32},
        },
    ],
}


@triton.jit
def copy(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    value = tl.load(x_ptr + at, mask=at < n)
    tl.store(out_ptr + at, value, mask=at < n)
