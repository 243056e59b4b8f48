"""Two tensors of different lengths, both masked by the longer one's."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "x": {"shape": [40]},
        "bias": {"shape": [24]},
        "out": {"shape": [40], "empty": True, "result": True},
    },
    "launches": [
        {
            "kernel": "add",
            "grid": (2, 1, 1),
            "arguments": {
                "x_ptr": "x",
                "bias_ptr": "bias",
                "out_ptr": "out",
                "n": 40,
                "m": 24,
                "BLOCK": 32,
            },
        },
    ],
    "event": "out-of-bounds load",
    "argument": "bias_ptr",
}


@triton.jit
def add(x_ptr, bias_ptr, out_ptr, n, m, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at, mask=at < n)
    bias = tl.load(bias_ptr + at, mask=at < n, other=0.0)  # DEFECT
    tl.store(out_ptr + at, x + bias, mask=at < n)
