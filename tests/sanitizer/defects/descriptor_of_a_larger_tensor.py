"""A tensor descriptor that claims three rows more than there are."""

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
    "event": "out-of-bounds load",
    "argument": "x_ptr",
}


@triton.jit
def copy(x_ptr, out_ptr, R, C: tl.constexpr, BR: tl.constexpr):
    rows = (R + BR - 1) // BR * BR
    source = tl.make_tensor_descriptor(x_ptr, [rows, C], [C, 1], [BR, C])
    target = tl.make_tensor_descriptor(out_ptr, [R, C], [C, 1], [BR, C])
    first = tl.program_id(0) * BR
    tile = source.load([first, 0])  # DEFECT
    target.store([first, 0], tile)
