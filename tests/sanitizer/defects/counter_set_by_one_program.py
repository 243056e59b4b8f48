"""One program sets a counter to zero with a plain store while the others already count."""

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
    if tl.program_id(0) == 0:
        tl.store(count_ptr, 0)  # OTHER
    tl.atomic_add(count_ptr, 1)  # DEFECT
