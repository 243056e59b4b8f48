"""A sum by halves through scratch, where the first pass does not wait for what it reads."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "x": {"shape": [4, 32]},
        "scratch": {"shape": [4, 32], "empty": True},
        "out": {"shape": [4], "empty": True, "result": True},
    },
    "launches": [
        {
            "kernel": "total",
            "grid": (4, 1, 1),
            "arguments": {"x_ptr": "x", "scratch_ptr": "scratch", "out_ptr": "out", "N": 32},
        },
    ],
    "event": "missing barrier",
    "argument": "scratch_ptr",
}


@triton.jit
def total(x_ptr, scratch_ptr, out_ptr, N: tl.constexpr):
    p = tl.program_id(0)
    at = tl.arange(0, N)
    row = scratch_ptr + p * N
    tl.store(row + at, tl.load(x_ptr + p * N + at))  # OTHER
    half = N // 2
    while half > 0:
        if half < N // 2:
            tl.debug_barrier()
        low = tl.load(row + at, mask=at < half, other=0.0)
        high = tl.load(row + at + half, mask=at < half, other=0.0)  # DEFECT
        tl.debug_barrier()
        tl.store(row + at, low + high, mask=at < half)
        half = half // 2
    tl.debug_barrier()
    tl.store(out_ptr + p, tl.load(row))
