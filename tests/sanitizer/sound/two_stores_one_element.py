"""A row of zeros, a barrier, then one element of it."""

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
}


@triton.jit
def one_hot(out_ptr, label, C: tl.constexpr):
    tl.store(out_ptr + tl.arange(0, C), tl.zeros((C,), tl.float32))
    tl.debug_barrier()
    tl.store(out_ptr + label, 1.0)
