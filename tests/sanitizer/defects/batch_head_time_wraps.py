"""The offset of a (batch, head, time) row, nested in int32: it wraps in the last product only."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "x": {"shape": [17, 32, 65536, 64], "dtype": "int8", "virtual": True},
        "out": {"shape": [64], "dtype": "int8", "empty": True, "result": True},
    },
    "launches": [
        {
            "kernel": "row_of",
            "grid": (64, 544, 1),
            "programs": [34815],
            "arguments": {"x_ptr": "x", "out_ptr": "out", "H": 32, "T": 65536, "CHUNK": 1024, "D": 64},
        },
    ],
    "event": "offset overflow",
    "argument": "x_ptr",
    "also": ["out-of-bounds load"],
}


@triton.jit
def row_of(x_ptr, out_ptr, H, T, CHUNK: tl.constexpr, D: tl.constexpr):
    batch = tl.program_id(1) // H
    head = tl.program_id(1) % H
    row = (batch * H + head) * T + tl.program_id(0) * CHUNK
    first = row * D  # DEFECT
    at = tl.arange(0, D)
    tl.store(out_ptr + at, tl.load(x_ptr + first + at))
