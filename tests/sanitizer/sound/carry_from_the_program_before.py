"""One program that carries the state through all chunks."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "x": {"shape": [4, 16]},
        "states": {"shape": [5, 16], "zeros": True},
    },
    "launches": [
        {
            "kernel": "scan",
            "grid": (1, 1, 1),
            "arguments": {"x_ptr": "x", "states_ptr": "states", "CHUNKS": 4, "C": 16},
        },
    ],
}


@triton.jit
def scan(x_ptr, states_ptr, CHUNKS: tl.constexpr, C: tl.constexpr):
    first = tl.program_id(0) * CHUNKS
    at = tl.arange(0, C)
    state = tl.load(states_ptr + first * C + at)
    for chunk in range(CHUNKS):
        state += tl.load(x_ptr + (first + chunk) * C + at)
        tl.store(states_ptr + (first + chunk + 1) * C + at, state)
