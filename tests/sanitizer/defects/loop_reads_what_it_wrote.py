"""Steps through a global state whose lanes read their neighbours' last step, without a barrier."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "state": {"shape": [2, 32], "result": True},
    },
    "launches": [
        {
            "kernel": "steps",
            "grid": (1, 1, 1),
            "arguments": {"state_ptr": "state", "n": 4, "C": 32},
        },
    ],
    "event": "missing barrier",
    "argument": "state_ptr",
}


@triton.jit
def steps(state_ptr, n, C: tl.constexpr):
    at = tl.arange(0, C)
    for step in range(n):
        here, there = (step % 2) * C, ((step + 1) % 2) * C
        left = tl.load(state_ptr + here + (at + C - 1) % C)  # DEFECT
        tl.store(state_ptr + there + at, left + 1.0)  # OTHER
