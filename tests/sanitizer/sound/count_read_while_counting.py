"""A second launch reads the counter."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "count": {"shape": [1], "dtype": "int32", "zeros": True},
        "out": {"shape": [4], "dtype": "int32", "zeros": True},
    },
    "launches": [
        {
            "kernel": "count",
            "grid": (4, 1, 1),
            "arguments": {"count_ptr": "count", "out_ptr": "out", "COUNT": True, "READ": False},
        },
        {
            "kernel": "count",
            "grid": (4, 1, 1),
            "arguments": {"count_ptr": "count", "out_ptr": "out", "COUNT": False, "READ": True},
        },
    ],
}


@triton.jit
def count(count_ptr, out_ptr, COUNT: tl.constexpr, READ: tl.constexpr):
    if COUNT:
        tl.atomic_add(count_ptr, 1)
    if READ:
        tl.store(out_ptr + tl.program_id(0), tl.load(count_ptr))
