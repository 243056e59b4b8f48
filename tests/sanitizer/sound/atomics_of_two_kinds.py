"""Sums and maxima of two elements, each of one kind whichever program comes first."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "level": {"shape": [2], "dtype": "int32", "zeros": True},
    },
    "launches": [
        {"kernel": "raise_level", "grid": (2, 1, 1), "arguments": {"level_ptr": "level"}},
    ],
}


@triton.jit
def raise_level(level_ptr):
    if tl.program_id(0) == 0:
        tl.atomic_max(level_ptr, 7)
        tl.atomic_add(level_ptr + 1, 5)
    else:
        tl.atomic_add(level_ptr + 1, 3)
        tl.atomic_max(level_ptr, 9)
