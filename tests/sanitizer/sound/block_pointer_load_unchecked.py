"""A block pointer whose loads check both boundaries."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "x": {"shape": [13, 16]},
        "out": {"shape": [13, 16], "empty": True, "result": True},
    },
    "launches": [
        {
            "kernel": "copy",
            "grid": (2, 1, 1),
            "arguments": {"x_ptr": "x", "out_ptr": "out", "R": 13, "C": 16, "BR": 8},
        },
    ],
    "last_triton": (3, 8),
}


@triton.jit
def copy(x_ptr, out_ptr, R, C: tl.constexpr, BR: tl.constexpr):
    first = tl.program_id(0) * BR
    source = tl.make_block_ptr(x_ptr, (R, C), (C, 1), (first, 0), (BR, C), (1, 0))
    target = tl.make_block_ptr(out_ptr, (R, C), (C, 1), (first, 0), (BR, C), (1, 0))
    tile = tl.load(source, boundary_check=(0, 1))
    tl.store(target, tile, boundary_check=(0, 1))
