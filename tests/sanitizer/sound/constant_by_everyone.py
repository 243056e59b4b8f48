"""Every program stores the same constant into one flag: a benign overlap."""

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
    "event": "overlap of equal values",
    "argument": "flag_ptr",
}


@triton.jit
def announce(flag_ptr):
    tl.store(flag_ptr, 1)  # BENIGN
