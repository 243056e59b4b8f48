"""Operations of triton.language and of its library, one line of kernel each, against NumPy and PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from verify.triton_cpu.interpreter.launch import KernelError, load_kernels
from verify.triton_cpu.private import core, tl
from verify.triton_cpu.selftest.runner import run_once

X = np.random.Generator(np.random.Philox(11)).standard_normal(16).astype(np.float32)
M = X.reshape(4, 4)
T = torch.from_numpy(X)
COUNT = np.arange(16)

HEAD = """
from triton.language.extra import libdevice


@triton.jit
def kernel(x, out, n, N: tl.constexpr):
    at = tl.arange(0, N)
    rows, columns = tl.arange(0, 4)[:, None], tl.arange(0, 4)[None, :]
    a = tl.load(x + at)
    m = tl.load(x + rows * 4 + columns)
    even, odd = tl.split(tl.reshape(a, (8, 2)))
"""

VECTORS: dict[str, Any] = {
    "tl.sort(a)": np.sort(X),
    "tl.sort(a, descending=True)": np.sort(X)[::-1],
    "tl.softmax(a)": torch.softmax(T, 0).numpy(),
    "tl.sigmoid(a)": torch.sigmoid(T).numpy(),
    "tl.cumprod(a, axis=0)": np.cumprod(X),
    "tl.clamp(a, -0.5, 0.5)": np.clip(X, -0.5, 0.5),
    "tl.erf(a)": torch.erf(T).numpy(),
    "tl.rsqrt(tl.abs(a))": 1 / np.sqrt(np.abs(X)),
    "libdevice.tanh(a)": np.tanh(X),
    "tl.extra.libdevice.tanh(a)": np.tanh(X),
    "libdevice.pow(tl.abs(a), 0.5)": np.sqrt(np.abs(X)),
    "tl.exp2(a) + tl.sin(a) * tl.cos(a)": np.exp2(X) + np.sin(X) * np.cos(X),
    "tl.log2(tl.abs(a)) + tl.math.log(tl.abs(a))": np.log2(np.abs(X)) + np.log(np.abs(X)),
    "tl.sqrt(tl.abs(a)) + tl.floor(a) - tl.ceil(a)": np.sqrt(np.abs(X)) + np.floor(X) - np.ceil(X),
    "tl.fdiv(a, 3.0) + tl.div_rn(a, a) + tl.sqrt_rn(a * a)": X / 3 + 1 + np.abs(X),
    "2.0 - a + 3 * a / 1 + 1 / (a + 9.0)": 2 - X + 3 * X + 1 / (X + 9),
    "tl.interleave(even, odd)": X,
    "tl.cat(even, odd, can_reorder=True)": X,  # any order but that of the operands
    "tl.reshape(tl.join(even, odd), (16,))": X,
    "tl.gather(a, 15 - at, 0)": X[::-1],
    "m.ravel()": X,
    "tl.view(m, (N,))": X,
    "a.to(tl.int32, bitcast=True).to(tl.float32, bitcast=True)": X,
    "a.to(tl.float16).to(tl.float32)": X.astype(np.float16).astype(np.float32),
    "(~(a > 0)).to(tl.float32)": (X <= 0).astype(np.float32),
    "((a > 0) & (a < 1) | (a == 5)).to(tl.float32)": ((X > 0) & (X < 1)).astype(np.float32),
    "(at % 5 + (0 - at) // 4 - (0 - at) % 3).to(tl.float32)": COUNT % 5 - COUNT // 4 + COUNT % 3,
    "((at << 2) ^ (at >> 1)).to(tl.float32)": (COUNT << 2) ^ (COUNT >> 1),
    "tl.full((N,), 2.5, tl.float32) + tl.zeros_like(a)": np.full(16, 2.5),
    "tl.where(n > 3, a, 0.0)": X,
    "a if n > 3 else -a": X,
    "a * m.numel + a * m.shape[1]": X * 20,
    "a.to(out.dtype.element_ty) * math.pi": X * np.pi,
    "tl.max(tl.where(at[:, None] == at[None, :], a[:, None], float('-inf')), axis=0)": X,
    "tl.associative_scan(a, 0, tl.standard._elementwise_max)": np.maximum.accumulate(X),
}
MATRICES: dict[str, Any] = {
    "m.T": M.T,
    "tl.trans(m)": M.T,
    "tl.permute(m, (1, 0))": M.T,
    "m.permute(1, 0)": M.T,
    "m - tl.max(m, axis=1, keep_dims=True)": M - M.max(1, keepdims=True),
    "tl.broadcast_to(tl.min(m, 0)[None, :], (4, 4))": np.broadcast_to(M.min(0), (4, 4)),
    "m + tl.sum(m)": M + M.sum(),
    "m + m.sum(axis=1)[:, None] - tl.argmax(m, axis=1)[:, None]": M + (M.sum(1) - M.argmax(1))[:, None],
}
SCALARS: dict[str, Any] = {
    "tl.cdiv(n, 3)": 2.0,
    "tl.sum((a > 0).to(tl.int32), 0)": float((X > 0).sum()),
    "tl.sum(a > 0, 0)": float((X > 0).sum()),
    "tl.xor_sum(at, 0)": 0.0,
    "tl.max(tl.histogram(at % 4, 4), 0)": 4.0,
    "min(n, 3, 7) + max(n, 5)": 8.0,
    "tl.minimum(n, 2) * 1.5": 3.0,
    "tl.max(tl.topk(a, 4), 0)": float(X.max()),
    "tl.num_programs(0) + tl.program_id(0)": 1.0,
}
STATEMENTS: dict[str, Any] = {
    "p = (a, a * 2)\nq, r = p\nvalue = p[1] + q - r": X,
    "value = a\nfor k in range(4, 0, -1):\n    value = value * 2": X * 16,
    "value = a\nfor k in range(2):\n    for l in tl.range(k, 3, num_stages=2):\n        value += l * k": X
    + 3,
    "value = a\nfor k in tl.static_range(0, N, 4):\n    value += k": X + 24,
    "value = a\nfirst = tl.load(x)\nif first > 1000.0:\n    value = value * 0": X,
    "half: tl.constexpr = N // 2\nvalue = a * half": X * 8,
    "c: tl.constexpr = triton.next_power_of_2(N - 1)\nvalue = a + tl.arange(0, c)": X + COUNT,
    "assert N == 16\ntl.static_assert(a.shape[0] == N)\nvalue = a": X,
    "if out.dtype.element_ty == tl.float32 and a.dtype.is_fp32():\n    value = a\nelse:\n    value = -a": X,
    "tl.multiple_of(at, 16)\nvalue = tl.max_contiguous(a, 16)": X,
    "tl.assume(n > 0)\ntl.debug_barrier()\ntl.device_assert(n > 100)\nvalue = a": X,
    "value = tl.zeros((N,), tl.float32)\nfor k in range(N):\n    value += tl.load(x + k)": np.full(
        16, X.sum()
    ),
    "value = a\nwhile n < 100:\n    n *= 2\n    value += 1.0": X + 5,
}


def run_body(body: str, scalars: dict[str, Any] | None = None) -> np.ndarray[Any, Any]:
    source = HEAD + "".join(f"    {line}\n" for line in body.splitlines())
    kernel = load_kernels(source, "<one line>")["kernel"]
    got, events = run_once(
        kernel, {"x": (X, "float32")}, ("out", 16, "float32"), {"n": 4, "N": 16, **(scalars or {})}
    )
    assert events == ()
    return got


@pytest.mark.parametrize("expression", VECTORS)
def test_operations_on_vectors(expression: str) -> None:
    got = run_body(f"tl.store(out + at, {expression})")
    assert np.allclose(got, VECTORS[expression], rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("expression", MATRICES)
def test_operations_on_matrices(expression: str) -> None:
    got = run_body(f"tl.store(out + rows * 4 + columns, {expression})")
    assert np.allclose(got.reshape(4, 4), MATRICES[expression], rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("expression", SCALARS)
def test_operations_that_yield_a_number(expression: str) -> None:
    got = run_body(f"value = {expression}\ntl.store(out, value.to(tl.float32))")
    assert got[0] == pytest.approx(SCALARS[expression], rel=1e-6)


@pytest.mark.parametrize("statements", STATEMENTS)
def test_statements(statements: str) -> None:
    got = run_body(f"{statements}\ntl.store(out + at, value)")
    assert np.allclose(got, STATEMENTS[statements], rtol=2e-6, atol=2e-6)


def test_random_numbers_are_those_of_the_device_generator() -> None:
    # Philox 4x32-10 with key (seed, 0) and counter (offset, 0, 0, 0): the answer Random123 publishes.
    got = run_body("tl.store(out + at, (tl.randint(0, at) == 0x6627E8D5).to(tl.float32))")
    assert got.tolist() == [1.0] + [0.0] * 15


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("tl.store(out, tl.dot(m, m, input_precision='ieee'))", "K >= 16"),
        ("tl.store(out + at, tl.exp(a.to(tl.bfloat16)))", "Expected dtype"),
        ("tl.store(out + at, a + tl.arange(0, 8))", "incompatible dimensions"),
        ("tl.static_assert(N == 8, 'wrong size')", "wrong size"),
        ("tl.assume(n > 100)", "tl.assume"),
        (
            "tl.store(out, tl.inline_asm_elementwise('bar.sync 0;', '=r,r', [a], tl.float32, True, 1))",
            "bar.sync",
        ),
        ("undefined(a)", "undefined"),
    ],
)
def test_what_cannot_run_says_so(body: str, message: str) -> None:
    with pytest.raises(KernelError, match=message) as caught:
        run_body(body)
    assert caught.value.line == HEAD.count("\n") + 1


def test_a_failed_launch_leaves_the_language_as_it_was() -> None:
    owners = (tl, core, core.tensor, core.block_type, core.dtype)
    before = [dict(vars(owner)) for owner in owners]
    with pytest.raises(KernelError):
        run_body("undefined(a)")
    assert [dict(vars(owner)) for owner in owners] == before
