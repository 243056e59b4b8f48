"""An embedding that reads zero where an index has no row."""

import triton
import triton.language as tl

CASE = {
    "tensors": {
        "index": {"shape": [4], "dtype": "int32", "values": [0, 7, 2, 9]},
        "table": {"shape": [8, 16]},
        "out": {"shape": [4, 16], "empty": True, "result": True},
    },
    "launches": [
        {
            "kernel": "embed",
            "grid": (4, 1, 1),
            "arguments": {"index_ptr": "index", "table_ptr": "table", "out_ptr": "out", "rows": 8, "C": 16},
        },
    ],
}


@triton.jit
def embed(index_ptr, table_ptr, out_ptr, rows, C: tl.constexpr):
    row = tl.load(index_ptr + tl.program_id(0))
    columns = tl.arange(0, C)
    value = tl.load(table_ptr + row * C + columns, mask=(row >= 0) & (row < rows), other=0.0)
    tl.store(out_ptr + tl.program_id(0) * C + columns, value)
