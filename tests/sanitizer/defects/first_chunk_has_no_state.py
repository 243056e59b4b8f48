"""States between chunks: the state that the first chunk starts from is read and was never written."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "x": {"shape": [4, 16]},
        "states": {"shape": [4, 16], "empty": True},
        "out": {"shape": [4, 16], "empty": True, "result": True},
    },
    "launches": [
        {
            "kernel": "carry",
            "grid": (1, 1, 1),
            "arguments": {"x_ptr": "x", "states_ptr": "states", "chunks": 4, "C": 16},
        },
        {
            "kernel": "add_state",
            "grid": (4, 1, 1),
            "arguments": {"x_ptr": "x", "states_ptr": "states", "out_ptr": "out", "C": 16},
        },
    ],
    "event": "never-written read",
    "argument": "states_ptr",
}


@triton.jit
def carry(x_ptr, states_ptr, chunks, C: tl.constexpr):
    at = tl.arange(0, C)
    state = tl.zeros((C,), tl.float32)
    for chunk in range(1, chunks):
        state += tl.load(x_ptr + (chunk - 1) * C + at)
        tl.store(states_ptr + chunk * C + at, state)


@triton.jit
def add_state(x_ptr, states_ptr, out_ptr, C: tl.constexpr):
    chunk = tl.program_id(0)
    at = chunk * C + tl.arange(0, C)
    state = tl.load(states_ptr + at)  # DEFECT
    tl.store(out_ptr + at, tl.load(x_ptr + at) + state)
