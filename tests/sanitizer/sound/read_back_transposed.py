"""A tile transposed through global memory with a barrier."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "x": {"shape": [16, 16]},
        "scratch": {"shape": [16, 16], "empty": True},
        "out": {"shape": [16, 16], "empty": True, "result": True},
    },
    "launches": [
        {
            "kernel": "transpose",
            "grid": (1, 1, 1),
            "arguments": {"x_ptr": "x", "scratch_ptr": "scratch", "out_ptr": "out", "B": 16},
        },
    ],
}


@triton.jit
def transpose(x_ptr, scratch_ptr, out_ptr, B: tl.constexpr):
    i, j = tl.arange(0, B)[:, None], tl.arange(0, B)[None, :]
    tl.store(scratch_ptr + i * B + j, tl.load(x_ptr + i * B + j))
    tl.debug_barrier()
    tile = tl.load(scratch_ptr + j * B + i)
    tl.store(out_ptr + i * B + j, tile)
