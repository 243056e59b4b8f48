"""A slice of columns, read with the stride of the matrix it was cut from."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "x": {"shape": [8, 16], "strides": [48, 1], "offset": 16, "storage": 384},
        "out": {"shape": [8, 16], "empty": True, "result": True},
    },
    "launches": [
        {
            "kernel": "copy",
            "grid": (1, 1, 1),
            "arguments": {"x_ptr": "x", "out_ptr": "out", "stride": 48, "R": 8, "C": 16},
        },
    ],
}


@triton.jit
def copy(x_ptr, out_ptr, stride, R: tl.constexpr, C: tl.constexpr):
    rows, columns = tl.arange(0, R)[:, None], tl.arange(0, C)[None, :]
    tile = tl.load(x_ptr + rows * stride + columns)
    tl.store(out_ptr + rows * C + columns, tile)
