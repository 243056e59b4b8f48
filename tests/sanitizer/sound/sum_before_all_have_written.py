"""A second launch adds up what the programs of the first one wrote."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "x": {"shape": [64]},
        "partial": {"shape": [4], "zeros": True},
        "out": {"shape": [1], "empty": True, "result": True},
    },
    "launches": [
        {
            "kernel": "partials",
            "grid": (4, 1, 1),
            "arguments": {
                "x_ptr": "x",
                "partial_ptr": "partial",
                "out_ptr": "out",
                "BLOCK": 16,
                "PARTS": 4,
                "SUM": False,
            },
        },
        {
            "kernel": "partials",
            "grid": (1, 1, 1),
            "arguments": {
                "x_ptr": "x",
                "partial_ptr": "partial",
                "out_ptr": "out",
                "BLOCK": 16,
                "PARTS": 4,
                "SUM": True,
                "STORE": False,
            },
        },
    ],
}


@triton.jit
def partials(
    x_ptr,
    partial_ptr,
    out_ptr,
    BLOCK: tl.constexpr,
    PARTS: tl.constexpr,
    SUM: tl.constexpr,
    STORE: tl.constexpr = True,
):
    program = tl.program_id(0)
    if STORE:
        value = tl.load(x_ptr + program * BLOCK + tl.arange(0, BLOCK))
        tl.store(partial_ptr + program, tl.sum(value, axis=0))
    if SUM and program == tl.num_programs(0) - 1:
        tl.store(out_ptr, tl.sum(tl.load(partial_ptr + tl.arange(0, PARTS)), axis=0))
