"""One store whose lanes wrap round a short result, all with that element's one value."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "x": {"shape": [32]},
        "out": {"shape": [8], "empty": True, "result": True},
    },
    "launches": [
        {
            "kernel": "fold",
            "grid": (1, 1, 1),
            "arguments": {"x_ptr": "x", "out_ptr": "out", "BLOCK": 32, "PERIOD": 8},
        },
    ],
}


@triton.jit
def fold(x_ptr, out_ptr, BLOCK: tl.constexpr, PERIOD: tl.constexpr):
    at = tl.arange(0, BLOCK)
    value = tl.load(x_ptr + at % PERIOD)
    tl.store(out_ptr + at % PERIOD, value)
