"""Kernels that the tests of this package share, as the text that `load_kernels` takes."""

SOURCE = """
@triton.jit
def add_one_past(x, amount):
    return x + amount


@triton.jit
def vector_add(x, y, out, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = at < n
    total = tl.load(x + at, mask=mask) + tl.load(y + at, mask=mask, other=0.0)
    tl.store(out + at, add_one_past(total, 0.0).to(out.dtype.element_ty), mask=mask)


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
        total += tl.dot(x, y, input_precision=P)
    tl.store(c + rows[:, None] * N + columns[None, :], total.to(c.dtype.element_ty),
             mask=(rows[:, None] < M) & (columns[None, :] < N))


@triton.jit
def softmax_row(x, out, n, stride, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    row = tl.load(x + tl.program_id(0) * stride + at, mask=at < n, other=-float("inf")).to(tl.float32)
    row = tl.exp(row - tl.max(row, axis=0))
    row = (row / tl.sum(row, axis=0)).to(out.dtype.element_ty)
    tl.store(out + tl.program_id(0) * stride + at, row, mask=at < n)


@triton.jit
def running_sum(x, out, R: tl.constexpr, C: tl.constexpr, AXIS: tl.constexpr, REVERSE: tl.constexpr):
    at = tl.arange(0, R)[:, None] * C + tl.arange(0, C)[None, :]
    tl.store(out + at, tl.cumsum(tl.load(x + at), axis=AXIS, reverse=REVERSE))


@triton.jit
def block_pointers(x, out, R, C, BR: tl.constexpr, BC: tl.constexpr):
    source = tl.make_block_ptr(base=x, shape=(R, C), strides=(C, 1), offsets=(tl.program_id(0) * BR, 0),
                               block_shape=(BR, BC), order=(1, 0))
    target = tl.make_block_ptr(base=out, shape=(R, C), strides=(C, 1), offsets=(tl.program_id(0) * BR, 0),
                               block_shape=(BR, BC), order=(1, 0))
    for _ in range(0, tl.cdiv(C, BC)):
        block = tl.load(source, boundary_check=(0, 1), padding_option="zero")
        tl.store(target, block * 2, boundary_check=(0, 1))
        source = tl.advance(source, (0, BC))
        target = tl.advance(target, (0, BC))


@triton.jit
def descriptors(x, out, R, C, BR: tl.constexpr, BC: tl.constexpr):
    source = tl.make_tensor_descriptor(x, shape=[R, C], strides=[C, 1], block_shape=[BR, BC])
    target = tl.make_tensor_descriptor(out, shape=[R, C], strides=[C, 1], block_shape=[BR, BC])
    row = tl.program_id(0) * BR
    for column in range(0, C, BC):
        target.store([row, column], source.load([row, column]) * 2)


@triton.jit
def affine(a, x, b, y):
    return a * b, x * b + y


@triton.jit
def recurrence(decay, x, out, T: tl.constexpr, D: tl.constexpr, REVERSE: tl.constexpr):
    at = tl.arange(0, T)[:, None] * D + tl.arange(0, D)[None, :]
    _, states = tl.associative_scan((tl.load(decay + at), tl.load(x + at)), 0, affine, reverse=REVERSE)
    tl.store(out + at, states)


@triton.jit
def larger(a, b):
    return tl.where(a > b, a, b)


@triton.jit
def largest(x, out, BLOCK: tl.constexpr):
    row = tl.load(x + tl.arange(0, BLOCK))
    tl.store(out, tl.reduce(row, 0, larger))
    tl.store(out + 1, tl.argmax(row, axis=0).to(tl.float32))
    value, index = tl.min(row, axis=0, return_indices=True)
    tl.store(out + 2, value)
    tl.store(out + 3, index.to(tl.float32))
    tl.store(out + 4, row.sum(axis=0))


@triton.jit
def control(x, out, n, ACTIVATION: tl.constexpr, SCALE: tl.constexpr, DEPTH: tl.constexpr):
    value = tl.load(x)
    if ACTIVATION == "relu":
        value = tl.maximum(value, 0.0)
    elif ACTIVATION is None:
        value = -value
    if SCALE is not None and SCALE > 1:
        value *= SCALE
    for _ in tl.static_range(DEPTH):
        value += 1.0
    steps = 0
    while n > 1:
        n = n // 2 if n % 2 == 0 else 3 * n + 1
        steps += 1
    if steps > 100 or not steps > 3:
        value = value + 1000.0
    tl.store(out, value)
    tl.store(out + 1, steps.to(tl.float32))


@triton.jit
def histogram(x, out, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.atomic_add(out + tl.load(x + at), 1.0)


@triton.jit
def extremes(x, low, high, lock, BLOCK: tl.constexpr):
    values = tl.load(x + tl.program_id(0) * BLOCK + tl.arange(0, BLOCK))
    zeros = tl.zeros((BLOCK,), dtype=tl.int32)
    tl.atomic_min(low + zeros, values)
    tl.atomic_max(high + zeros, values)
    tl.atomic_cas(lock, 0, 7)
    tl.atomic_xchg(lock + 1, tl.program_id(0))


@triton.jit
def read_at(x, out, offset, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(out + at, tl.load(x + offset + at))


@triton.jit
def write_at(x, out, offset, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(out + offset + at, tl.load(x + at))


@triton.jit
def reinterpreted(x, out):
    wide = (x + 1).to(tl.pointer_type(tl.float32))
    tl.store(out, tl.load(wide))


@triton.jit
def from_number(x, out):
    tl.store(out, tl.load((x.to(tl.int64) + 0).to(tl.pointer_type(tl.float32))))


@triton.jit
def chosen(x, y, out, FIRST: tl.constexpr):
    source = x if FIRST else y
    block = tl.arange(0, 4)
    table = tl.reshape(source + block, (2, 2))
    swapped = tl.trans(table)
    tl.store(out + tl.reshape(block, (2, 2)), tl.load(swapped))


@triton.jit
def everyone_writes(x, out, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(out + at, tl.load(x + at) + tl.program_id(0))


@triton.jit
def everyone_agrees(x, out, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(out + at, tl.load(x + at) * 2)


@triton.jit
def lanes_collide(x, out, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(out + at // 2, tl.load(x + at))


@triton.jit
def program_ids(out, order, GX: tl.constexpr, GY: tl.constexpr):
    place = tl.program_id(0) + GX * (tl.program_id(1) + GY * tl.program_id(2))
    tl.store(out + place, tl.atomic_add(order, 1))


@triton.jit
def with_defaults(out, factor=0.1, N: tl.constexpr = 4):
    tl.store(out + tl.arange(0, N), factor)


@triton.jit
def never_ends(out):
    i = 0
    while i < 1:
        i = i * 1
    tl.store(out, i)


@triton.jit
def not_a_power_of_two(out):
    tl.store(out + tl.arange(0, 3), 0.0)


@triton.jit
def chained(out, n):
    if 0 < n < 3:
        tl.store(out, 1.0)


@triton.jit
def block_condition(out):
    if tl.arange(0, 4) > 2:
        tl.store(out, 1.0)


@triton.jit
def method_of_one(out, n):
    tl.store(out, n.to(tl.float32))


@triton.jit
def typed(x, out, DTYPE: tl.constexpr):
    tl.static_assert(DTYPE == tl.bfloat16 or DTYPE == tl.float32)
    tl.store(out, tl.load(x).to(DTYPE).to(tl.float32))
"""


def line_of(text: str) -> int:
    """1-based line of the first occurrence of `text` in SOURCE."""
    return SOURCE[: SOURCE.index(text)].count("\n") + 1
