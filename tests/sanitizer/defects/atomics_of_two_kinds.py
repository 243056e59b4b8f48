"""Sums and maxima of one element, in one order by the first program, in the other by the second."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "level": {"shape": [1], "dtype": "int32", "zeros": True},
    },
    "launches": [
        {"kernel": "raise_level", "grid": (2, 1, 1), "arguments": {"level_ptr": "level"}},
    ],
    "event": "conflict between programs",
    "argument": "level_ptr",
}


@triton.jit
def raise_level(level_ptr):
    if tl.program_id(0) == 0:
        tl.atomic_max(level_ptr, 7)
        tl.atomic_add(level_ptr, 5)  # OTHER
    else:
        tl.atomic_add(level_ptr, 3)  # DEFECT
        tl.atomic_max(level_ptr, 9)
