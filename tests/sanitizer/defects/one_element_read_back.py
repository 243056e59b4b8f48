"""A row is stored, then the element of the label is read back: another thread stored it."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "x": {"shape": [4, 32]},
        "grad": {"shape": [4, 32], "empty": True, "result": True},
        "out": {"shape": [4], "empty": True, "result": True},
    },
    "launches": [
        {
            "kernel": "loss",
            "grid": (4, 1, 1),
            "arguments": {"x_ptr": "x", "grad_ptr": "grad", "out_ptr": "out", "label": 7, "C": 32},
        },
    ],
    "event": "missing barrier",
    "argument": "grad_ptr",
}


@triton.jit
def loss(x_ptr, grad_ptr, out_ptr, label, C: tl.constexpr):
    at = tl.arange(0, C)
    row = tl.program_id(0) * C
    value = tl.load(x_ptr + row + at)
    value = value - tl.max(value, axis=0)
    tl.store(grad_ptr + row + at, value)  # OTHER
    picked = tl.load(grad_ptr + row + label)  # DEFECT
    tl.store(out_ptr + tl.program_id(0), picked)
