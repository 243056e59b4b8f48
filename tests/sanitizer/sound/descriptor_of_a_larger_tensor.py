"""A tensor descriptor of the tensor's own shape."""

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
}


@triton.jit
def copy(x_ptr, out_ptr, R, C: tl.constexpr, BR: tl.constexpr):
    rows = R
    source = tl.make_tensor_descriptor(x_ptr, [rows, C], [C, 1], [BR, C])
    target = tl.make_tensor_descriptor(out_ptr, [R, C], [C, 1], [BR, C])
    first = tl.program_id(0) * BR
    tile = source.load([first, 0])
    target.store([first, 0], tile)
