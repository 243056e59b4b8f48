"""The counter is zero before the launch, and programs only count."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "count": {"shape": [1], "dtype": "int32", "zeros": True, "result": True},
    },
    "launches": [
        {
            "kernel": "count",
            "grid": (4, 1, 1),
            "arguments": {"count_ptr": "count"},
        },
    ],
}


@triton.jit
def count(count_ptr):
    tl.atomic_add(count_ptr, 1)
