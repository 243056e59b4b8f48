"""A pointer made of an integer: no tensor stands behind it."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "x": {"shape": [32]},
        "table": {"shape": [1], "dtype": "int64", "values": [16]},
        "out": {"shape": [16], "zeros": True},
    },
    "launches": [
        {
            "kernel": "indirect",
            "grid": (1, 1, 1),
            "arguments": {"x_ptr": "x", "table_ptr": "table", "out_ptr": "out", "BLOCK": 16},
        },
    ],
    "event": "unknown pointer",
    "argument": "",
}


@triton.jit
def indirect(x_ptr, table_ptr, out_ptr, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    entry = tl.load(table_ptr)
    source = entry.to(tl.pointer_type(tl.float32))
    tl.store(out_ptr + at, tl.load(source + at))  # DEFECT
