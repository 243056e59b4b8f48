"""Programs exchange their numbers with one element: which one stays depends on the order."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "last": {"shape": [1], "dtype": "int32", "zeros": True},
    },
    "launches": [
        {
            "kernel": "announce",
            "grid": (4, 1, 1),
            "arguments": {"last_ptr": "last"},
        },
    ],
    "event": "conflict between programs",
    "argument": "last_ptr",
}


@triton.jit
def announce(last_ptr):
    tl.atomic_xchg(last_ptr, tl.program_id(0) + 1)  # DEFECT
