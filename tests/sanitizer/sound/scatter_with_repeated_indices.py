"""A scatter whose indices are a permutation."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "x": {"shape": [8]},
        "index": {"shape": [8], "dtype": "int32", "values": [3, 0, 5, 4, 1, 7, 6, 2]},
        "out": {"shape": [8], "zeros": True},
    },
    "launches": [
        {
            "kernel": "scatter",
            "grid": (1, 1, 1),
            "arguments": {"x_ptr": "x", "index_ptr": "index", "out_ptr": "out", "BLOCK": 8},
        },
    ],
}


@triton.jit
def scatter(x_ptr, index_ptr, out_ptr, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    where = tl.load(index_ptr + at)
    tl.store(out_ptr + where, tl.load(x_ptr + at))
