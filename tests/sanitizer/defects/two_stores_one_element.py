"""A row of zeros, then one element of it by another thread, without a barrier: either store may come last."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "out": {"shape": [32], "empty": True, "result": True},
    },
    "launches": [
        {
            "kernel": "one_hot",
            "grid": (1, 1, 1),
            "arguments": {"out_ptr": "out", "label": 7, "C": 32},
        },
    ],
    "event": "missing barrier",
    "argument": "out_ptr",
}


@triton.jit
def one_hot(out_ptr, label, C: tl.constexpr):
    tl.store(out_ptr + tl.arange(0, C), tl.zeros((C,), tl.float32))  # OTHER
    tl.store(out_ptr + label, 1.0)  # DEFECT
