"""A scratch of padded rows, written up to the row's length and read up to the padding."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "x": {"shape": [4, 20]},
        "scratch": {"shape": [4, 32], "empty": True},
        "out": {"shape": [4], "empty": True, "result": True},
    },
    "launches": [
        {
            "kernel": "pad",
            "grid": (4, 1, 1),
            "arguments": {"x_ptr": "x", "scratch_ptr": "scratch", "C": 20, "BC": 32},
        },
        {
            "kernel": "row_sum",
            "grid": (4, 1, 1),
            "arguments": {"scratch_ptr": "scratch", "out_ptr": "out", "BC": 32},
        },
    ],
    "event": "never-written read",
    "argument": "scratch_ptr",
}


@triton.jit
def pad(x_ptr, scratch_ptr, C, BC: tl.constexpr):
    columns = tl.arange(0, BC)
    value = tl.load(x_ptr + tl.program_id(0) * C + columns, mask=columns < C, other=0.0)
    tl.store(scratch_ptr + tl.program_id(0) * BC + columns, value, mask=columns < C)


@triton.jit
def row_sum(scratch_ptr, out_ptr, BC: tl.constexpr):
    value = tl.load(scratch_ptr + tl.program_id(0) * BC + tl.arange(0, BC))  # DEFECT
    tl.store(out_ptr + tl.program_id(0), tl.sum(value, axis=0))
