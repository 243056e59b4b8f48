"""Every program stores its own number into one flag."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "flag": {"shape": [1], "dtype": "int32", "zeros": True, "result": True},
    },
    "launches": [
        {
            "kernel": "announce",
            "grid": (3, 1, 1),
            "arguments": {"flag_ptr": "flag"},
        },
    ],
    "event": "conflict between programs",
    "argument": "flag_ptr",
}


@triton.jit
def announce(flag_ptr):
    tl.store(flag_ptr, tl.program_id(0))  # DEFECT
