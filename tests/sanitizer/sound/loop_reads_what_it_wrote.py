"""Steps through a global state in two halves, with a barrier after each."""

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
}


@triton.jit
def steps(state_ptr, n, C: tl.constexpr):
    at = tl.arange(0, C)
    for step in range(n):
        here, there = (step % 2) * C, ((step + 1) % 2) * C
        left = tl.load(state_ptr + here + (at + C - 1) % C)
        tl.store(state_ptr + there + at, left + 1.0)
        tl.debug_barrier()
