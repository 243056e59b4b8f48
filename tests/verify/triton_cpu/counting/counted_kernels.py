"""Kernels whose work is known on paper, as the text that `load_kernels` takes."""

SOURCE = """
@triton.jit
def scale(x, out, n, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + at, tl.load(x + at, mask=at < n) * 2.0, mask=at < n)


@triton.jit
def causal(q, k, out, T, H, D: tl.constexpr, B: tl.constexpr, FLAT: tl.constexpr, WINDOW: tl.constexpr):
    tiles = tl.cdiv(T, B)
    if FLAT:
        tile = tiles - 1 - tl.program_id(0) // H
        head = tl.program_id(0) % H
    else:
        tile = tl.program_id(0)
        head = tl.program_id(1)
    rows = tile * B + tl.arange(0, B)
    columns = tl.arange(0, D)
    base = head * T * D
    mine = tl.load(q + base + rows[:, None] * D + columns, mask=rows[:, None] < T, other=0.0)
    total = tl.zeros((B, D), tl.float32)
    for other in range(tl.maximum(tile - WINDOW + 1, 0), tile + 1):
        theirs = other * B + tl.arange(0, B)
        keys = tl.load(k + base + theirs[:, None] * D + columns, mask=theirs[:, None] < T, other=0.0)
        scores = tl.exp(tl.dot(mine, tl.trans(keys), input_precision="ieee"))
        total = tl.dot(scores.to(keys.dtype), keys, total, input_precision="ieee")
    tl.store(out + base + rows[:, None] * D + columns, total.to(out.dtype.element_ty), mask=rows[:, None] < T)


@triton.jit
def matmul(a, b, c, M, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, P: tl.constexpr):
    rows = tl.program_id(0) * BM + tl.arange(0, BM)
    columns = tl.program_id(1) * BN + tl.arange(0, BN)
    total = tl.zeros((BM, BN), dtype=tl.float32)
    for block in range(0, tl.cdiv(K, BK)):
        inner = block * BK + tl.arange(0, BK)
        x = tl.load(a + rows[:, None] * K + inner[None, :],
                    mask=(rows[:, None] < M) & (inner[None, :] < K), other=0.0)
        y = tl.load(b + inner[:, None] * N + columns[None, :],
                    mask=(inner[:, None] < K) & (columns[None, :] < N), other=0.0)
        total = tl.dot(x, y, total, input_precision=P)
    tl.store(c + rows[:, None] * N + columns[None, :], total,
             mask=(rows[:, None] < M) & (columns[None, :] < N))


@triton.jit
def reductions(x, out, BLOCK: tl.constexpr):
    row = tl.load(x + tl.program_id(0) * BLOCK + tl.arange(0, BLOCK))
    total = tl.sum(row, 0) + tl.max(row, 0)
    tl.store(out + tl.program_id(0), total)


@triton.jit
def running(x, out, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(out + at, tl.cumsum(tl.load(x + at), 0))


@triton.jit
def product(a, b):
    return a * b


@triton.jit
def running_product(x, out, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(out + at, tl.associative_scan(tl.load(x + at), 0, product))


@triton.jit
def wraps(x, out, stride, BLOCK: tl.constexpr):
    at = tl.program_id(0) * stride + tl.arange(0, BLOCK)
    tl.store(out + tl.program_id(0) * BLOCK + tl.arange(0, BLOCK), tl.load(x + at))


@triton.jit
def gather(index, table, out, D: tl.constexpr):
    row = tl.load(index + tl.program_id(0))
    at = tl.arange(0, D)
    tl.store(out + tl.program_id(0) * D + at, tl.load(table + row * D + at))


@triton.jit
def forever(x):
    while tl.load(x) == 0.0:
        tl.store(x, 0.0)
"""
