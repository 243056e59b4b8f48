"""The kernels that `selftest` runs, as source text."""

SOURCE = """
from triton.language.extra import libdevice

gather = tl.gather
root = tl.math.rsqrt
top = tl.max

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
def towards_zero(x, out, N: tl.constexpr):
    at = tl.arange(0, N)
    a = tl.load(x + at)
    tl.store(out + at, a.to(tl.bfloat16, fp_downcast_rounding="rtz").to(tl.float32))
    tl.store(out + N + at, a.to(tl.float16, fp_downcast_rounding="rtz").to(tl.float32))

@triton.jit
def functions(x, y, z, out, N: tl.constexpr):
    at = tl.arange(0, N)
    a, b, c = tl.load(x + at), tl.load(y + at), tl.load(z + at)
    tl.store(out + at, tl.math.fma(a, b, c))
    tl.store(out + N + at, tl.clamp(a, b, c))
    tl.store(out + 2 * N + at, tl.abs(a))
    tl.store(out + 3 * N + at, tl.where(a > b, a, b))
    tl.store(out + 4 * N + at, a - c)
    tl.store(out + 5 * N + at, a / b)

@triton.jit
def clamped(x, out, N: tl.constexpr):
    at = tl.arange(0, N)
    a = tl.load(x + at)
    tl.store(out + at, tl.clamp(a, -1.0, 1.0))
    tl.store(out + N + at, tl.clamp(a, -1.0, 1.0, propagate_nan=tl.PropagateNan.ALL))
    tl.store(out + 2 * N + at, tl.maximum(a, 0.0, propagate_nan=tl.PropagateNan.ALL))

@triton.jit
def widths(x, out, N: tl.constexpr):
    at = tl.arange(0, N)
    a = tl.load(x + at)
    tl.store(out + at, (a + a).to(tl.float64))
    tl.store(out + N + at, a.to(tl.uint8).to(tl.float64))
    tl.store(out + 2 * N + at, a.to(tl.uint32).to(tl.float64))
    tl.store(out + 3 * N + at, (a != 0).to(tl.float64))
    tl.store(out + 4 * N + at, tl.sum(a, axis=0).to(tl.float64))

@triton.jit
def device(x, out, N: tl.constexpr):
    at = tl.arange(0, N)
    a = tl.load(x + at)
    tl.store(out + at, tl.erf(a))
    tl.store(out + N + at, tl.rsqrt(a))
    tl.store(out + 2 * N + at, libdevice.tanh(a))
    most = tl.full((1,), 0xFFFFFFFF, tl.uint32)
    tl.store(out + 3 * N + tl.arange(0, 1), tl.umulhi(most, most).to(tl.float64))

@triton.jit
def assembled(x, y, out, N: tl.constexpr):
    at = tl.arange(0, N)
    a, b = tl.load(x + at), tl.load(y + at)
    text: tl.constexpr = "{ .reg .f32 t; mul.f32 t, $1, $2; sub.f32 $0, t, $1; }"
    both = tl.inline_asm_elementwise(text, "=f,f,f", [a, b], dtype=tl.float32, is_pure=True, pack=1)
    tl.store(out + at, both)

@triton.jit
def captured(x, out, N: tl.constexpr):
    at = tl.arange(0, N)
    a = tl.load(x + at)
    tl.store(out + at, gather(a, N - 1 - at, 0))
    tl.store(out + N + at, root(a))
    tl.store(out + 2 * N, top(a, 0))

@triton.jit
def larger(a, b):
    return tl.where(tl.abs(a) >= tl.abs(b), a, b)

@triton.jit
def reduced(x, out, N: tl.constexpr):
    at = tl.arange(0, N)
    a = tl.load(x + at)
    tl.store(out, tl.reduce(a, 0, larger))
    tl.store(out + 1, tl.argmax(a, axis=0).to(tl.float32))
    tl.store(out + 2, tl.argmin(a, axis=0).to(tl.float32))
    tl.store(out + 3 + at, tl.cumsum(a, axis=0, reverse=True))

@triton.jit
def together(x, out, N: tl.constexpr):
    pid = tl.program_id(0)
    at = tl.arange(0, N)
    a = tl.load(x + pid * N + at)
    tl.store(out + pid * 4, tl.sum(a, axis=0) * pid)
    tl.store(out + pid * 4 + 1, tl.max(a, axis=0) - pid)
    tl.store(out + pid * 4 + 2, tl.load(x + pid * N + pid))
    total = 0.0
    for _ in range(pid % 3):
        total += 3.0
    tl.store(out + pid * 4 + 3, total)

@triton.jit
def usual_product(x, y, out, N: tl.constexpr):
    r, c = tl.arange(0, N)[:, None], tl.arange(0, N)[None, :]
    a, b = tl.load(x + r * N + c), tl.load(y + r * N + c)
    tl.store(out + r * N + c, tl.dot(a, b))

@triton.jit
def loops(out, n, first):
    last = 0
    for i in range(n):
        last = i.to(tl.int32) * 2000000000
    tl.store(out, last)
    for i in tl.range(0, n):
        tl.store(out + 1, i.to(tl.int64))
    for i in tl.static_range(3):
        tl.store(out + 2, i)
    for i in range(first, first + 1):
        tl.store(out + 3, i)

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
    tl.store(out + 2, factor * 3.0 - 0.3)

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
    tl.store(out + 3 * N + at, a % 4)

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
