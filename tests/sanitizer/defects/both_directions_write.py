"""Two programs, one for each direction of a scan, write their states into one tensor."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "x": {"shape": [16]},
        "states": {"shape": [32], "zeros": True},
    },
    "launches": [
        {
            "kernel": "scan",
            "grid": (2, 1, 1),
            "arguments": {"x_ptr": "x", "states_ptr": "states", "BLOCK": 16},
        },
    ],
    "event": "conflict between programs",
    "argument": "states_ptr",
}


@triton.jit
def scan(x_ptr, states_ptr, BLOCK: tl.constexpr):
    direction = tl.program_id(0)
    at = tl.arange(0, BLOCK)
    value = tl.load(x_ptr + tl.where(direction == 0, at, BLOCK - 1 - at))
    tl.store(states_ptr + at, tl.cumsum(value, axis=0))  # DEFECT
