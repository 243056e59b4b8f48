"""The last program overwrites, with a plain store, a counter that others add to."""

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
    "event": "atomic over plain store",
    "argument": "count_ptr",
}


@triton.jit
def count(count_ptr):
    if tl.program_id(0) < 3:
        tl.atomic_add(count_ptr, 1)  # OTHER
    else:
        tl.store(count_ptr, 100)  # DEFECT
