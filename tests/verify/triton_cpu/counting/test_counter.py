"""Launches counted at real sizes: against paper, and a few programs against all of them."""

from __future__ import annotations

import resource
from typing import Any

import numpy as np
import pytest

from tests.verify.triton_cpu.counting.counted_kernels import SOURCE
from verify.triton_cpu.counting import counter
from verify.triton_cpu.counting.counter import CountedLaunch, count_launch, count_launches
from verify.triton_cpu.counting.counts import Counts, LaunchCounts
from verify.triton_cpu.counting.grid_axes import watched_divisions
from verify.triton_cpu.counting.storages import Storages, TensorView
from verify.triton_cpu.interpreter.launch import WorkLimitExceeded, WorkLimits, language, load_kernels
from verify.triton_cpu.private import JITFunction


@pytest.fixture(scope="module")
def kernels() -> dict[str, JITFunction]:
    return load_kernels(SOURCE, "<counted kernels>")


def tensor(*shape: int, dtype: str = "float32", content: Any = None) -> TensorView:
    itemsize = {"float32": 4, "bfloat16": 2, "float16": 2, "int64": 8}[dtype]
    storage = Storages().add("memory", int(np.prod(shape)) * itemsize, content=content)
    strides = tuple(np.cumprod((1, *reversed(shape[1:])))[::-1].tolist())
    return TensorView(storage=storage, dtype=dtype, shape=shape, strides=strides)


def attention(
    kernel: JITFunction, heads: int, length: int, *, flat: bool, window: int = 1 << 20, dtype: str = "float32"
) -> CountedLaunch:
    """Causal: head by head, tiles of 16 rows of 16 features."""
    tiles = -(-length // 16)
    one = {name: tensor(heads, length, 16, dtype=dtype) for name in ("q", "k", "out")}
    numbers = {"T": length, "H": heads, "D": 16, "B": 16, "FLAT": flat, "WINDOW": window}
    grid = (tiles * heads, 1, 1) if flat else (tiles, heads, 1)
    return CountedLaunch(kernel=kernel, arguments={**one, **numbers}, grid=grid)


def product(kernel: JITFunction, m: int, n: int, k: int, *, dtype: str, precision: str) -> CountedLaunch:
    matrices = {"a": tensor(m, k, dtype=dtype), "b": tensor(k, n, dtype=dtype), "c": tensor(m, n)}
    numbers = {"M": m, "N": n, "K": k, "BM": 16, "BN": 16, "BK": 16, "P": precision}
    grid = (-(-m // 16), -(-n // 16), 1)
    return CountedLaunch(kernel=kernel, arguments={**matrices, **numbers}, grid=grid)


def relative(estimate: LaunchCounts, exact: LaunchCounts) -> dict[str, float]:
    """Every count's error, in parts of the exact one."""
    pairs = {
        name: (getattr(estimate.counts, name), getattr(exact.counts, name))
        for name in Counts.__dataclass_fields__
        if name != "dot_flops"
    }
    pairs |= {
        name: (estimate.counts.dot_flops[name], flops) for name, flops in exact.counts.dot_flops.items()
    }
    return {name: abs(got - want) / max(want, 1) for name, (got, want) in pairs.items()}


@pytest.mark.parametrize(
    ("dtype", "precision", "operand"),
    [
        ("bfloat16", "ieee", "bf16"),
        ("float16", "tf32", "fp16"),
        ("float32", "ieee", "fp32"),
        ("float32", "tf32", "tf32"),
    ],
)
def test_a_product_is_counted_as_on_paper(
    kernels: dict[str, JITFunction], dtype: str, precision: str, operand: str
) -> None:
    m, n, k = 32, 48, 40
    launch = product(kernels["matmul"], m, n, k, dtype=dtype, precision=precision)
    counted = count_launch(launch, programs=None)
    counts, item = counted.counts, 4 if dtype == "float32" else 2
    assert counted.complete
    assert counted.sampled == 6
    assert dict(counts.dot_flops) == {operand: 2 * m * n * 48}  # padded to whole blocks of K
    assert counts.bytes_loaded == (3 * m * k + 2 * k * n) * item
    assert counts.unique_loaded == (m * k + k * n) * item
    assert counts.bytes_stored == counts.unique_stored == m * n * 4
    assert counts.loop_steps == 6 * 3
    assert {one.name: one.unique_loaded for one in counted.arguments}["b"] == k * n * item


def test_reductions_count_a_combination_less_than_elements(kernels: dict[str, JITFunction]) -> None:
    def flops(name: str, programs: int) -> float:
        arguments = {"x": tensor(programs, 64), "out": tensor(programs, 64), "BLOCK": 64}
        grid = (programs, 1, 1)
        launch = CountedLaunch(kernel=kernels[name], arguments=arguments, grid=grid)
        return count_launch(launch, programs=None).counts.fp32_flops

    assert flops("reductions", 3) == 3 * (63 + 63 + 1)
    assert flops("running", 1) == 63
    assert flops("running_product", 1) == 64  # six passes over 64 lanes, counted as one


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_special_functions_and_dots_of_causal_tiles(kernels: dict[str, JITFunction], dtype: str) -> None:
    counts = count_launch(attention(kernels["causal"], 1, 48, flat=False, dtype=dtype), programs=None).counts
    pairs = 1 + 2 + 3
    assert counts.special_ops == pairs * 16 * 16
    assert sum(counts.dot_flops.values()) == pairs * 2 * (2 * 16 * 16 * 16)


CASES = {
    "causal": lambda k: attention(k["causal"], 6, 135, flat=False),
    "causal, grid on one axis": lambda k: attention(k["causal"], 6, 135, flat=True),
    "window": lambda k: attention(k["causal"], 4, 200, flat=True, window=3),
    "ragged product": lambda k: product(k["matmul"], 130, 90, 33, dtype="bfloat16", precision="ieee"),
    "rows": lambda k: CountedLaunch(
        kernel=k["scale"],
        arguments={"x": tensor(5000), "out": tensor(5000), "n": 4990, "BLOCK": 64},
        grid=(79, 1, 1),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_sample_agrees_with_all_programs(kernels: dict[str, JITFunction], name: str) -> None:
    launch = CASES[name](kernels)
    exact, estimate = count_launch(launch, programs=None), count_launch(launch, seed=3)
    assert exact.complete
    assert not estimate.complete
    assert estimate.sampled < exact.size
    off = {what: error for what, error in relative(estimate, exact).items() if error > 0.02}
    assert off == {}


def test_counting_is_repeatable(kernels: dict[str, JITFunction]) -> None:
    launch = attention(kernels["causal"], 4, 200, flat=True)
    first, second = count_launches([launch, launch], seed=7)
    assert first == second
    assert LaunchCounts.from_json(first.to_json()) == first


def test_the_axes_behind_a_program_id_are_seen(kernels: dict[str, JITFunction]) -> None:
    launch = attention(kernels["causal"], 6, 135, flat=True)
    views = {name: value for name, value in launch.arguments.items() if isinstance(value, TensorView)}
    with watched_divisions(language().builder) as cuts:
        counter._run(launch, counter._Memory(views, None), 53, counter.LIMITS)
    assert 6 in cuts[0]
    assert cuts[1] == cuts[2] == set()
    assert "create_sdiv" not in vars(language().builder)


def test_real_sizes_take_hardly_any_memory(kernels: dict[str, JITFunction]) -> None:
    many = 4 * 16 * 8192 * 64
    one = {"x": tensor(many, dtype="bfloat16"), "out": tensor(many, dtype="bfloat16")}
    grid = (many // 1024, 1, 1)
    launch = CountedLaunch(kernel=kernels["scale"], arguments={**one, "n": many, "BLOCK": 1024}, grid=grid)
    count_launch(CASES["rows"](kernels))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    counts = count_launch(launch).counts
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
    assert counts.unique_bytes == 2 * 2 * many
    assert counts.bytes_loaded == counts.bytes_stored == 2 * many
    assert grown < many // 4


def test_an_offset_that_overflows_is_seen_at_its_real_size(kernels: dict[str, JITFunction]) -> None:
    rows, width = 80, 1 << 26  # 80 rows of 64 Mi elements: the last ones lie beyond 2 Gi
    arguments = {"x": tensor(rows * width, dtype="bfloat16"), "out": tensor(rows * 64, dtype="bfloat16")}
    launch = CountedLaunch(
        kernel=kernels["wraps"], arguments={**arguments, "stride": width, "BLOCK": 64}, grid=(rows, 1, 1)
    )
    (violation,) = count_launch(launch).violations
    assert violation.kind == "out-of-bounds load"
    line = SOURCE.splitlines()[violation.line - 1]
    assert "tl.load(x + at)" in line


def test_integers_keep_their_values(kernels: dict[str, JITFunction]) -> None:
    index = np.array([5, 5, 5, 9], np.int64)
    arguments = {
        "index": tensor(4, dtype="int64", content=index.view(np.uint8)),
        "table": tensor(16, 32),
        "out": tensor(4, 32),
        "D": 32,
    }
    counted = count_launch(CountedLaunch(kernel=kernels["gather"], arguments=arguments, grid=(4, 1, 1)))
    table = next(one for one in counted.arguments if one.name == "table")
    assert (table.bytes_loaded, table.unique_loaded) == (4 * 128, 2 * 128)


def test_a_program_that_does_not_end_is_stopped(kernels: dict[str, JITFunction]) -> None:
    launch = CountedLaunch(kernel=kernels["forever"], arguments={"x": tensor(4)}, grid=(1, 1, 1))
    with pytest.raises(WorkLimitExceeded, match="loop steps"):
        count_launch(launch, limits=WorkLimits(launches=1, programs=1 << 40, loop_steps=100))
