"""The benchmark against Triton's interpreter: one tape for both, and numbers that were measured."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from verify.triton_cpu import private
from verify.triton_cpu.bench import faults, ours
from verify.triton_cpu.bench.__main__ import table_of
from verify.triton_cpu.bench.compare import Row, distance, geometric_mean, row_of, summary
from verify.triton_cpu.bench.tape import (
    ArgumentValue,
    DtypeArg,
    KernelName,
    Results,
    Tape,
    TapeLaunch,
    TapeWriter,
    TensorArg,
)
from verify.triton_cpu.packages import kernel_module
from verify.triton_cpu.selftest import runner

KERNELS = """import triton
import triton.language as tl


@triton.jit
def scaled(x, out, n, factor, TYPE: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x + at, mask=at < n, other=0.0) * factor
    tl.store(out + at, value.to(TYPE).to(tl.float32), mask=at < n)


@triton.jit
def counted(out, n):
    total = 0
    for i in range(n):
        total += i.to(tl.int32)
    tl.store(out, total.to(tl.float32))
"""
X = np.random.Generator(np.random.Philox(5)).standard_normal(50).astype(np.float32)


def tape_at(folder: Path) -> Tape:
    """50 numbers times 0.1 in float16, by 4 programs; then a loop that uses its variable as a tensor."""
    file = folder / "kernels.py"
    file.write_text(KERNELS, encoding="utf-8")
    (folder / "tape").mkdir()
    writer = TapeWriter(folder / "tape")
    data = [X.view(np.uint8).copy(), np.full(200, 0xFF, np.uint8)]
    written = [np.ones(200, np.bool_), np.zeros(200, np.bool_)]
    tensors = [TensorArg(storage=at, dtype="float32", shape=(50,), strides=(1,), offset=0) for at in range(2)]
    scaled: dict[str, ArgumentValue] = {"x": tensors[0], "out": tensors[1], "n": 50, "factor": 0.1}
    scaled |= {"TYPE": DtypeArg(name="float16"), "BLOCK": 16}
    for name, grid, arguments in (
        ("scaled", (4, 1, 1), scaled),
        ("counted", (1, 1, 1), {"out": tensors[1], "n": 5}),
    ):
        launch = TapeLaunch(
            kernel=KernelName(place=str(file), name=name, is_file=True),
            grid=grid,
            arguments=tuple(arguments.items()),
            storages=2,
        )
        writer.add(launch, data, written)
    writer.close()
    return Tape(folder / "tape")


def test_a_tape_reads_back_what_was_written(tmp_path: Path) -> None:
    tape = tape_at(tmp_path)
    (launch, contents), (other, _) = tape
    assert (launch.grid, other.kernel.name) == ((4, 1, 1), "counted")
    values = dict(launch.arguments)
    assert (values["factor"], values["TYPE"]) == (0.1, DtypeArg(name="float16"))
    assert values["x"] == TensorArg(storage=0, dtype="float32", shape=(50,), strides=(1,), offset=0)
    assert np.array_equal(contents.data[0].view(np.float32), X)
    assert [int(flags.sum()) for flags in contents.written] == [200, 0]


def test_both_interpreters_run_the_same_tape(tmp_path: Path) -> None:
    tape = tape_at(tmp_path)
    kept = Results(tmp_path / "ours")
    seconds, plain = ours.replay(tape, "plain", kept)
    assert seconds > 0
    want = (X * np.float32(0.1)).astype(np.float16).astype(np.float32)
    assert np.array_equal(kept.load(0)[1].view(np.float32), want)
    assert kept.load(1)[1].view(np.float32)[0] == 10.0
    for mode in ("unbatched", "sanitizer"):
        assert ours.differing(plain, ours.replay(tape, mode)[1]) == []
    command = [sys.executable, "-m", "verify.triton_cpu.bench.stock"]
    done = subprocess.run(
        [*command, str(tmp_path / "tape"), str(tmp_path / "stock"), "1"],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    answer = json.loads(done.stdout)
    assert answer["patched"]  # `i.to` of a Python number: it ran with loop variables that are tensors
    assert len(answer["seconds"]) == 1
    # float32 to float16 is rounded differently there, nothing else is
    assert distance(tape, kept, Results(tmp_path / "stock")) < 2.0**-9


def test_the_other_interpreter_is_never_run_by_mistake(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, "-m", "verify.triton_cpu.bench.stock", str(tmp_path), str(tmp_path), "1"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "expected TRITON_INTERPRET=1" in done.stderr


def row(
    name: str, stock: float | None, plain: float, sanitizer: float, different: tuple[str, ...] = ()
) -> Row:
    seconds = {"unbatched": 2 * plain, "plain": plain, "sanitizer": sanitizer}
    seconds |= {} if stock is None else {"stock": stock}
    return Row(name=name, launches=1, programs=1, seconds=seconds, different=different)


def test_the_promises_are_about_geometric_means() -> None:
    rows = [row("a", 2.0, 1.0, 1.2), row("b", 8.0, 1.0, 1.4), row("c", None, 1.0, 1.0)]
    found = summary(rows)
    assert found["stock / plain"] == pytest.approx(4.0)
    assert found["sanitizer / plain"] == pytest.approx((1.2 * 1.4) ** (1 / 3))
    assert (found["rows with a ratio"], found["rows"], found["holds"]) == (2, 3, True)
    assert not summary([row("a", 2.9, 1.0, 1.2)])["holds"]
    assert not summary([row("a", 4.0, 1.0, 1.6)])["holds"]
    assert not summary([row("a", 4.0, 1.0, 1.2, different=("bfloat16 unbatched",))])["holds"]
    assert not summary([])["holds"]
    assert geometric_mean([]) is None


def test_a_row_keeps_the_least_of_its_rounds_and_says_what_is_missing() -> None:
    answer = {
        "seconds": {"unbatched": [3.0, 2.0], "plain": [1.0, 1.5], "sanitizer": [1.1]},
        "different": {"float32": {"unbatched": [], "sanitizer": [3]}, "bfloat16": {"unbatched": [0]}},
        "launches": 4,
        "programs": 9,
    }
    made = row_of("a", answer, {"seconds": [5.0, 4.0], "patched": True}, 0.0)
    assert made.ratio("stock", "plain") == 4.0
    assert made.different == ("float32 sanitizer", "bfloat16 unbatched")
    assert row_of("a", answer, {"error": "no"}, None).missing == "stock: no"
    lost = row_of("b", {"error": "ModuleNotFoundError: No module named 'fla'"}, {}, None)
    assert (lost.missing, lost.seconds) == ("this layer: ModuleNotFoundError: No module named 'fla'", {})
    console = Console(width=200, record=True, file=open(os.devnull, "w", encoding="utf-8"))
    console.print(table_of([made, lost]))
    text = console.export_text()
    assert "4.00 *" in text
    assert "float32 sanitizer" in text


def test_results_with_nan_on_one_side_only_are_infinitely_apart(tmp_path: Path) -> None:
    tape = tape_at(tmp_path)
    one, other = Results(tmp_path / "one"), Results(tmp_path / "other")
    values = X.copy()
    for index in range(2):
        one.keep(index, [X.view(np.uint8), X.view(np.uint8)])
        other.keep(index, [X.view(np.uint8), values.view(np.uint8)])
    assert distance(tape, one, other) == 0.0
    values[7] = np.nan
    other.keep(1, [X.view(np.uint8), values.view(np.uint8)])
    assert distance(tape, one, other) == math.inf


@pytest.mark.slow
def test_the_interpreter_that_triton_ships_fails_known_answers() -> None:
    found = faults.compare()
    assert set(found) == set(runner.CHECKS) - faults.OURS_ALONE
    wrong = {check for check, verdict in found.items() if verdict != "same"}
    always = {"atomics", "captured functions", "choices", "device functions", "float scalars", "tf32"}
    always |= {"float to integer", "float16 sums", "float8", "inline assembly", "loop variables"}
    always |= {f"bfloat16 {what}" for what in ("arithmetic", "dot", "functions", "rounding", "sums")}
    before = {"clamp", "maximum"} if private.VERSION < (3, 8) else set()
    assert wrong - {"fma"} == always | before
    # where nothing is wrong with it, both agree to the last bit
    assert {"associative scan", "float8 dot", "int8 dot", "integers", "reduce", "truncation"} <= set(
        found
    ) - wrong


def test_values_are_compared_and_not_the_bits_of_a_nan() -> None:
    quiet, other = np.array([0x7FC0, 0x3F80], np.uint16), np.array([0x7FFF, 0x3F80], np.uint16)
    assert faults.same_values(quiet.view(np.uint8), other.view(np.uint8), "bfloat16")
    assert not faults.same_values(quiet.view(np.uint8), quiet[::-1].copy().view(np.uint8), "bfloat16")


def test_a_package_without_its_extension_module_still_gives_its_kernels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "half_built_package"
    (package / "ops").mkdir(parents=True)
    (package / "__init__.py").write_text("import half_built_package_cuda\n", encoding="utf-8")
    (package / "ops" / "__init__.py").write_text("import half_built_package_cuda\n", encoding="utf-8")
    (package / "ops" / "kernels.py").write_text("answer = 42\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert kernel_module("half_built_package.ops.kernels").answer == 42
    with pytest.raises(ModuleNotFoundError, match="not_there_at_all"):
        kernel_module("not_there_at_all.ops.kernels")
