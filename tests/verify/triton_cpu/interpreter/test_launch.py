"""Whole kernels against NumPy and PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tests.verify.triton_cpu.kernels import SOURCE, line_of
from verify.triton_cpu import private
from verify.triton_cpu.interpreter.launch import (
    Counters,
    KernelError,
    PointerArg,
    WorkLimitExceeded,
    WorkLimits,
    load_kernels,
    run_launch,
)
from verify.triton_cpu.memory.arena import Arena
from verify.triton_cpu.private import JITFunction
from verify.triton_cpu.selftest.runner import bits_of, run_once, values_of

DTYPES = ("float32", "bfloat16", "float16")
TOLERANCE = {"float32": 2e-6, "bfloat16": 8e-3, "float16": 1e-3}


@pytest.fixture(scope="module")
def kernels() -> dict[str, JITFunction]:
    return load_kernels(SOURCE, "<kernels under test>")


def draw(*shape: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.Generator(np.random.Philox(seed)).standard_normal(shape).astype(np.float32)


def stored(values: np.ndarray[Any, Any], dtype: str) -> np.ndarray[Any, Any]:
    """The values as the kernel reads them, in float64."""
    return values_of(bits_of(values, dtype), dtype).astype(np.float64)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 63, 64, 131])
def test_masked_addition_rounds_once(kernels: dict[str, JITFunction], dtype: str, n: int) -> None:
    x, y = draw(n), draw(n, seed=1)
    got, events = run_once(
        kernels["vector_add"],
        {"x": (x, dtype), "y": (y, dtype)},
        ("out", n, dtype),
        {"n": n, "BLOCK": 64},
        grid=(-(-n // 64), 1, 1),
    )
    torch_dtype = getattr(torch, dtype)
    want = torch.from_numpy(x).to(torch_dtype) + torch.from_numpy(y).to(torch_dtype)
    assert events == ()
    assert np.array_equal(got.astype(np.float32), want.float().numpy())


@pytest.mark.parametrize("dtype", DTYPES)
def test_tiled_matmul_with_ragged_edges(kernels: dict[str, JITFunction], dtype: str) -> None:
    m, n, k = 37, 29, 45
    a, b = draw(m, k), draw(k, n, seed=1)
    got, events = run_once(
        kernels["matmul"],
        {"a": (a, dtype), "b": (b, dtype)},
        ("c", m * n, dtype),
        {"M": m, "N": n, "K": k, "BM": 32, "BN": 16, "BK": 16, "P": "ieee"},
        grid=(2, 2, 1),
    )
    want = stored(a, dtype) @ stored(b, dtype)
    assert events == ()
    assert np.abs(got.reshape(m, n) - want).max() <= TOLERANCE[dtype] * np.abs(want).max()


@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_of_rows(kernels: dict[str, JITFunction], dtype: str) -> None:
    x = draw(3, 50)
    got, events = run_once(
        kernels["softmax_row"],
        {"x": (x, dtype)},
        ("out", 150, dtype),
        {"n": 50, "stride": 50, "BLOCK": 64},
        grid=(3, 1, 1),
    )
    want = torch.softmax(torch.from_numpy(stored(x, dtype)), dim=-1).numpy()
    assert events == ()
    assert np.abs(got.reshape(3, 50) - want).max() <= TOLERANCE[dtype]


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("reverse", [False, True])
def test_cumsum_along_either_axis(kernels: dict[str, JITFunction], axis: int, reverse: bool) -> None:
    x = draw(8, 16)
    got, _ = run_once(
        kernels["running_sum"],
        {"x": (x, "float32")},
        ("out", 128, "float32"),
        {"R": 8, "C": 16, "AXIS": axis, "REVERSE": reverse},
    )
    ordered = np.flip(x, axis) if reverse else x
    want = np.cumsum(ordered, axis)
    assert np.allclose(got.reshape(8, 16), np.flip(want, axis) if reverse else want, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", ["block_pointers", "descriptors"])
def test_blocks_of_a_matrix_stop_at_its_edges(kernels: dict[str, JITFunction], form: str, dtype: str) -> None:
    x = draw(13, 24)
    arguments = {"R": 13, "C": 24, "BR": 8, "BC": 16}
    if form == "block_pointers" and private.VERSION >= (3, 9):
        with pytest.raises(KernelError, match="Block pointers have been removed"):
            run_once(kernels[form], {"x": (x, dtype)}, ("out", x.size, dtype), arguments)
        return
    got, events = run_once(
        kernels[form], {"x": (x, dtype)}, ("out", x.size, dtype), arguments, grid=(2, 1, 1)
    )
    assert events == ()
    assert np.array_equal(got.astype(np.float64).reshape(13, 24), 2 * stored(x, dtype))


@pytest.mark.parametrize("reverse", [False, True])
def test_associative_scan_with_a_pair_matches_the_recurrence(
    kernels: dict[str, JITFunction], reverse: bool
) -> None:
    decay, x = np.exp(-np.abs(draw(16, 4))).astype(np.float32), draw(16, 4, seed=1)
    got, _ = run_once(
        kernels["recurrence"],
        {"decay": (decay, "float32"), "x": (x, "float32")},
        ("out", 64, "float32"),
        {"T": 16, "D": 4, "REVERSE": reverse},
    )
    order = range(15, -1, -1) if reverse else range(16)
    want, state = np.zeros((16, 4)), np.zeros(4)
    for t in order:
        state = state * decay[t] + x[t]
        want[t] = state
    assert np.allclose(got.reshape(16, 4), want, rtol=1e-5, atol=1e-6)


def test_reductions_with_and_without_indices(kernels: dict[str, JITFunction]) -> None:
    x = draw(32)
    x[[3, 20]] = 9.0
    got, _ = run_once(kernels["largest"], {"x": (x, "float32")}, ("out", 5, "float32"), {"BLOCK": 32})
    assert got[:4].tolist() == [9.0, 3.0, float(x.min()), float(x.argmin())]
    assert np.isclose(got[4], x.sum(), rtol=1e-5)


@pytest.mark.parametrize(
    ("activation", "scale", "want"),
    [("relu", None, 2.0), ("relu", 3, 2.0), (None, 3, 17.0), ("other", 1, -3.0)],
)
def test_constexpr_branches_and_loops(
    kernels: dict[str, JITFunction], activation: str | None, scale: int | None, want: float
) -> None:
    got, _ = run_once(
        kernels["control"],
        {"x": (np.array([-5.0]), "float32")},
        ("out", 2, "float32"),
        {"n": 27, "ACTIVATION": activation, "SCALE": scale, "DEPTH": 2},
    )
    assert got.tolist() == [want + 1000.0, 111.0]


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_float_atomics_are_summed_and_counted(kernels: dict[str, JITFunction], dtype: str) -> None:
    arena = Arena()
    x, out = arena.add("x", 32 * 4, written=True), arena.add("out", 8 * 4, written=True)
    arena.freeze(0)
    x.view("<i4")[:] = np.arange(32) % 5
    counters = Counters()
    run_launch(
        kernels["histogram"],
        {"x": PointerArg(buffer=x, dtype="int32"), "out": PointerArg(buffer=out, dtype=dtype), "BLOCK": 16},
        grid=(2, 1, 1),
        arena=arena,
        counters=counters,
        limits=WorkLimits(),
    )
    raw = bits_of(np.zeros(1), dtype).dtype
    got = values_of(out.view(raw)[:8].copy(), dtype)
    assert got.tolist() == [7.0, 7.0, 6.0, 6.0, 6.0, 0.0, 0.0, 0.0]
    assert counters.float_atomics == {line_of("tl.atomic_add(out + tl.load"): 2}


def test_other_atomics(kernels: dict[str, JITFunction]) -> None:
    arena = Arena()
    x = arena.add("x", 32 * 4, written=True)
    buffers = {name: arena.add(name, 8, written=True) for name in ("low", "high", "lock")}
    arena.freeze(0)
    x.view("<i4")[:] = np.arange(32) * 37 % 23 - 11
    arguments = {
        name: PointerArg(buffer=buffer, dtype="int32") for name, buffer in {**buffers, "x": x}.items()
    }
    run_launch(
        kernels["extremes"],
        {**arguments, "BLOCK": 16},
        grid=(2, 1, 1),
        arena=arena,
        counters=Counters(),
        limits=WorkLimits(),
    )
    assert [int(buffers[name].view("<i4")[0]) for name in ("low", "high", "lock")] == [-11, 11, 7]
    assert int(buffers["lock"].view("<i4")[1]) == 1


def test_programs_run_with_x_fastest_and_in_any_order(kernels: dict[str, JITFunction]) -> None:
    for order in ("forward", "reverse", (5, 1, 0, 2, 3, 4)):
        arena = Arena()
        out, turn = arena.add("out", 24, written=False), arena.add("order", 4, written=True)
        arena.freeze(0)
        run_launch(
            kernels["program_ids"],
            {
                "out": PointerArg(buffer=out, dtype="int32"),
                "order": PointerArg(buffer=turn, dtype="int32"),
                "GX": 3,
                "GY": 2,
            },
            grid=(3, 2, 1),
            arena=arena,
            counters=Counters(),
            limits=WorkLimits(),
            order=order,  # type: ignore[arg-type]
        )
        sequence = {"forward": range(6), "reverse": range(5, -1, -1)}.get(order, order)  # type: ignore[call-overload]
        assert np.argsort(out.view("<i4")).tolist() == list(sequence)


def test_work_is_counted_in_total_and_per_kernel(kernels: dict[str, JITFunction]) -> None:
    arena = Arena()
    names = {"a": 32 * 32 * 4, "b": 32 * 32 * 4, "c": 32 * 32 * 4}
    buffers = {name: arena.add(name, size, written=name != "c") for name, size in names.items()}
    arena.freeze(0)
    counters = Counters()
    arguments = {name: PointerArg(buffer=buffer, dtype="float32") for name, buffer in buffers.items()}
    for _ in range(2):
        run_launch(
            kernels["matmul"],
            {**arguments, "M": 32, "N": 32, "K": 32, "BM": 16, "BN": 32, "BK": 16, "P": "ieee"},
            grid=(2, 1, 1),
            arena=arena,
            counters=counters,
            limits=WorkLimits(),
        )
    for count in (counters, counters.kernels["matmul"]):
        assert (count.launches, count.programs, count.loop_steps) == (2, 4, 8)
        assert (count.loads, count.stores) == (16, 4)
        assert count.bytes_loaded == 2 * 2 * 2 * (16 * 16 + 16 * 32) * 4
        assert count.bytes_stored == 2 * 32 * 32 * 4
        assert count.dot_flops == 2 * 2 * 32 * 32 * 32


@pytest.mark.parametrize(
    ("limits", "what"),
    [
        (WorkLimits(loop_steps=50), "loop steps"),
        (WorkLimits(programs=3), "programs"),
        (WorkLimits(launches=0), "launches"),
    ],
)
def test_work_beyond_a_limit_is_refused_by_name(
    kernels: dict[str, JITFunction], limits: WorkLimits, what: str
) -> None:
    with pytest.raises(WorkLimitExceeded, match=what):
        run_once(
            kernels["never_ends"],
            {},
            ("out", 1, "int32"),
            grid=(4 if what == "programs" else 1, 1, 1),
            limits=limits,
        )


@pytest.mark.parametrize("loop", ["range(n)", "range(n + tl.program_id(0))", "tl.static_range(1000)"])
@pytest.mark.parametrize("programs", [1, 3])
def test_a_loop_that_would_take_too_many_steps_is_not_begun(loop: str, programs: int) -> None:
    source = f"@triton.jit\ndef long(out, n):\n    for i in {loop}:\n        tl.store(out, 1.0)\n"
    arena, counters = Arena(), Counters()
    out = arena.add("out", 4, written=True)
    arena.freeze(0)
    with pytest.raises(WorkLimitExceeded, match="loop steps"):
        run_launch(
            load_kernels(source, "<long loop>")["long"],
            {"out": PointerArg(buffer=out, dtype="float32"), "n": 1000},
            grid=(programs, 1, 1),
            arena=arena,
            counters=counters,
            limits=WorkLimits(loop_steps=999),
        )
    assert (counters.loop_steps, counters.stores) == (0, 0)


@pytest.mark.parametrize(
    ("name", "scalars", "text", "message"),
    [
        ("not_a_power_of_two", {}, "tl.arange(0, 3)", "power of 2"),
        ("chained", {"n": 2}, "if 0 < n < 3", "one comparison"),
        ("block_condition", {}, "if tl.arange(0, 4)", "scalar as a condition"),
        ("method_of_one", {"n": 1}, "n.to(tl.float32)", "no attribute 'to'"),
    ],
)
def test_what_the_compiler_refuses_is_refused_at_its_line(
    kernels: dict[str, JITFunction], name: str, scalars: dict[str, int], text: str, message: str
) -> None:
    with pytest.raises(KernelError, match=message) as caught:
        run_once(kernels[name], {}, ("out", 4, "float32"), scalars)
    assert (caught.value.kernel, caught.value.line) == (name, line_of(text))


def test_an_integer_other_than_one_is_a_tensor(kernels: dict[str, JITFunction]) -> None:
    got, _ = run_once(kernels["method_of_one"], {}, ("out", 1, "float32"), {"n": 2})
    assert got.tolist() == [2.0]


@pytest.mark.parametrize("name", ["bfloat16", "tl.bfloat16"])
def test_dtypes_are_constants_by_name(kernels: dict[str, JITFunction], name: str) -> None:
    got, _ = run_once(
        kernels["typed"], {"x": (np.array([1.005]), "float32")}, ("out", 1, "float32"), {"DTYPE": name}
    )
    assert got.tolist() == [1.0078125]


def test_a_launch_may_leave_out_what_has_a_default(kernels: dict[str, JITFunction]) -> None:
    got, _ = run_once(kernels["with_defaults"], {}, ("out", 4, "float64"))
    assert got.tolist() == [float(np.float32(0.1))] * 4


def test_two_sources_under_one_name_keep_their_own_text() -> None:
    body = "@triton.jit\ndef f(out):\n    tl.store(out, {})\n"
    first, second = (load_kernels(body.format(value), "<same name>")["f"] for value in (1.0, 2.0))
    got = [run_once(kernel, {}, ("out", 1, "float32"))[0][0] for kernel in (first, second)]
    assert got == [1.0, 2.0]


def test_kernels_load_in_a_namespace_of_three_names() -> None:
    with pytest.raises(ImportError, match="expected an import of triton"):
        load_kernels("import os\n", "<imports>")
    with pytest.raises(NameError):
        load_kernels("secret = open('/etc/passwd')\n", "<names>")
