"""A device function, called by a kernel, that masks its load."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "x": {"shape": [20]},
        "out": {"shape": [20], "empty": True, "result": True},
    },
    "launches": [
        {
            "kernel": "copy",
            "grid": (1, 1, 1),
            "arguments": {"x_ptr": "x", "out_ptr": "out", "n": 20, "BLOCK": 32},
        },
    ],
}


@triton.jit
def tile_of(pointer, n, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    return tl.load(pointer + at, mask=at < n)


@triton.jit
def copy(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(out_ptr + at, tile_of(x_ptr, n, BLOCK), mask=at < n)
