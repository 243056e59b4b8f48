"""A copy whose last tile writes beyond the tensor."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "x": {"shape": [70]},
        "out": {"shape": [70], "empty": True, "result": True},
    },
    "launches": [
        {
            "kernel": "copy",
            "grid": (3, 1, 1),
            "arguments": {"x_ptr": "x", "out_ptr": "out", "n": 70, "BLOCK": 32},
        },
    ],
    "event": "out-of-bounds store",
    "argument": "out_ptr",
}


@triton.jit
def copy(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x_ptr + at, mask=at < n, other=0.0)
    tl.store(out_ptr + at, value)  # DEFECT
