"""A tile stored to global memory and read back shifted by one, without a barrier."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "x": {"shape": [32]},
        "scratch": {"shape": [32], "empty": True},
        "out": {"shape": [32], "empty": True, "result": True},
    },
    "launches": [
        {
            "kernel": "shift",
            "grid": (1, 1, 1),
            "arguments": {"x_ptr": "x", "scratch_ptr": "scratch", "out_ptr": "out", "BLOCK": 32},
        },
    ],
    "event": "missing barrier",
    "argument": "scratch_ptr",
}


@triton.jit
def shift(x_ptr, scratch_ptr, out_ptr, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(scratch_ptr + at, tl.load(x_ptr + at) * 2)  # OTHER
    before = tl.load(scratch_ptr + at - 1, mask=at > 0, other=0.0)  # DEFECT
    tl.store(out_ptr + at, before)
