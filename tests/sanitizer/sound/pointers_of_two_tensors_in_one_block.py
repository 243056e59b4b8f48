"""Two loads, each masked, and the choice between their values."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "x": {"shape": [32]},
        "y": {"shape": [32]},
        "out": {"shape": [32], "zeros": True},
    },
    "launches": [
        {
            "kernel": "choose",
            "grid": (1, 1, 1),
            "arguments": {"x_ptr": "x", "y_ptr": "y", "out_ptr": "out", "BLOCK": 32},
        },
    ],
}


@triton.jit
def choose(x_ptr, y_ptr, out_ptr, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    first = at < BLOCK // 2
    x = tl.load(x_ptr + at, mask=first, other=0.0)
    y = tl.load(y_ptr + at, mask=at >= BLOCK // 2, other=0.0)
    value = tl.where(first, x, y)
    tl.store(out_ptr + at, value)
