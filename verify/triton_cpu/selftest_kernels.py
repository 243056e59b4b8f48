"""The kernels that `selftest` runs, as source text."""

SOURCE = """
@triton.jit
def twice(x, factor):
    return x * factor

@triton.jit
def arithmetic(x, y, out, N: tl.constexpr):
    at = tl.arange(0, N)
    a, b = tl.load(x + at), tl.load(y + at)
    tl.store(out + at, a * b)
    tl.store(out + N + at, a + b)
    tl.store(out + 2 * N + at, -a)
    tl.store(out + 3 * N + at, tl.maximum(a, b))

@triton.jit
def sums(x, out, N: tl.constexpr):
    values = tl.load(x + tl.arange(0, N))
    tl.store(out, tl.sum(values, axis=0))
    tl.store(out + 1 + tl.arange(0, N), tl.cumsum(values, axis=0))

@triton.jit
def convert(x, out, N: tl.constexpr):
    at = tl.arange(0, N)
    tl.store(out + at, tl.load(x + at).to(out.dtype.element_ty))

@triton.jit
def loops(out, n):
    last = 0
    for i in range(n):
        last = i.to(tl.int32) * 2000000000
    tl.store(out, last)
    for i in tl.range(0, n):
        tl.store(out + 1, i.to(tl.int64))
    for i in tl.static_range(3):
        tl.store(out + 2, i)

@triton.jit
def choices(x, out, n, FLAG: tl.constexpr, N: tl.constexpr):
    at = tl.arange(0, N)
    a = tl.load(x + at)
    tl.store(out + at, max(min(a, 2.0), -1.0))
    inside = ((n > 3) and (n < 10)) or (n > 100)
    tl.store(out + N, inside.to(tl.float32))
    if not (n > 3) or FLAG is None:
        tl.store(out + N + 1, 1.0)
    else:
        tl.store(out + N + 1, 2.0)

@triton.jit
def scalar(x, out, factor):
    tl.store(out, factor * 1.0)
    tl.store(out + 1, twice(tl.load(x), factor))

@triton.jit
def product(x, y, out, N: tl.constexpr, P: tl.constexpr):
    r, c = tl.arange(0, N)[:, None], tl.arange(0, N)[None, :]
    a, b = tl.load(x + r * N + c), tl.load(y + r * N + c)
    tl.store(out + r * N + c, tl.dot(a, b, input_precision=P).to(out.dtype.element_ty))

@triton.jit
def decay(a, x, b, y):
    return a * b, x * b + y

@triton.jit
def scan(g, x, out, N: tl.constexpr):
    at = tl.arange(0, N)
    _, h = tl.associative_scan((tl.load(g + at), tl.load(x + at)), 0, decay)
    tl.store(out + at, h)

@triton.jit
def shifts(x, out, N: tl.constexpr):
    at = tl.arange(0, N)
    a = tl.load(x + at)
    tl.store(out + at, a >> 1)
    tl.store(out + N + at, (a.to(tl.uint32) >> 1).to(tl.int32))
    tl.store(out + 2 * N + at, a // 4)

@triton.jit
def fused(x, y, z, out):
    tl.store(out, tl.math.fma(tl.load(x), tl.load(y), tl.load(z)))

@triton.jit
def atomics(x, out, N: tl.constexpr):
    at = tl.arange(0, N)
    tl.atomic_add(out + at * 0, tl.load(x + at))

@triton.jit
def stray(x, out, n, N: tl.constexpr):
    at = tl.arange(0, N)
    value = tl.load(x + at)
    tl.store(out + at, value)
    tl.store(out + at, value, mask=at < n)

@triton.jit
def endless(out):
    i = 0
    while i < 10:
        i = i * 1
    tl.store(out, i)
"""
