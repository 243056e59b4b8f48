"""Launches of foreign code: each specialisation once, and whatever a compiler does, the rest goes on."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.verify.triton_cpu.kernels import SOURCE
from verify.triton_cpu.compiler import recorded
from verify.triton_cpu.compiler.compile import CompilePointer, CompileReport, compile_launch
from verify.triton_cpu.compiler.recorded import (
    RecordedLaunch,
    compile_recorded,
    distinct_launches,
    specialisation_key,
)
from verify.triton_cpu.compiler.report_store import ReportStore
from verify.triton_cpu.interpreter.launch import load_kernels

KERNELS = load_kernels(SOURCE, "<recorded kernels>")
POINTERS = {name: CompilePointer(dtype="float32") for name in ("x", "y", "out")}


def add(n: Any = 64, *, block: int = 64, warps: int = 4, **changes: Any) -> RecordedLaunch:
    pointers = {**POINTERS, **{key: value for key, value in changes.items() if key in POINTERS}}
    return RecordedLaunch(
        kernel=KERNELS["vector_add"], arguments={**pointers, "n": n, "BLOCK": block}, num_warps=warps
    )


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiler that answers at once, dies for blocks of 128 and never ends for blocks of 256."""

    def compiled(kernel: Any, arguments: Any, **settings: Any) -> tuple[CompileReport, bytes]:
        if arguments["BLOCK"] == 128:
            os.write(2, b"LLVM ERROR: Cannot select")
            os.abort()
        if arguments["BLOCK"] == 256 or (arguments["BLOCK"] == 1024 and settings["num_stages"] != 4):
            time.sleep(60)
        report = CompileReport(
            kernel=kernel.fn.__name__,
            target=settings["target"],
            num_warps=settings["num_warps"],
            num_stages=settings["num_stages"],
            registers=arguments["BLOCK"],
            shared_bytes=100_000 * settings["num_stages"] if arguments["BLOCK"] >= 512 else 0,
        )
        return report, b""

    monkeypatch.setattr(recorded, "compile_code", compiled)


def test_real_kernels_compile_in_other_processes(tmp_path: Path) -> None:
    launches = [add(64), add(128), add(65, block=1024)]
    reports = compile_recorded(launches, ("sm_90", "gfx942"), census=True)
    assert [(report.error, report.kernel, report.launches) for report in reports] == [
        *[(None, "vector_add", 2)] * 2,
        *[(None, "vector_add", 1)] * 2,
    ]
    for report in reports:
        assert report.registers > 0
        assert report.line == KERNELS["vector_add"].starting_line_number
        assert report.census is not None
        assert report.census["global"]
    alone = compile_launch(
        launches[2].kernel,
        launches[2].arguments,
        num_warps=4,
        num_stages=3,
        target="sm_90",
        scratch=str(tmp_path),
        census=True,
    )
    assert alone.census == reports[2].census != reports[0].census


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        (add(64), add(128), True),  # both divisible by 16
        (add(64), add(65), False),
        (add(65), add(67), True),
        (add(1), add(3), False),  # one is a constant
        (add(65), add(2**31 + 1), False),  # wider
        (add(2**40), add(2**62), True),
        (add(64), add(True), False),
        (add(block=64), add(block=128), False),  # a constexpr counts by its value
        (add(), add(warps=8), False),
        (add(), add(x=CompilePointer(dtype="bfloat16")), False),
        (add(), add(x=CompilePointer(dtype="float32", divisible16=False)), False),
        (add(), replace(add(), options={"maxnreg": 64}), False),
        (add(), replace(add(), kernel=KERNELS["read_at"]), False),
        (add(0.5), add(0.25), True),
        (add(0.5), add(2), False),
    ],
)
def test_launches_are_the_same_where_the_compiler_cannot_tell_them_apart(
    first: RecordedLaunch, second: RecordedLaunch, *, same: bool
) -> None:
    assert (specialisation_key(first) == specialisation_key(second)) is same
    assert len(distinct_launches([first, second, first])) == (1 if same else 2)


def test_a_compiler_that_dies_or_hangs_takes_one_kernel_with_it(fake: None) -> None:
    launches = [add(block=block) for block in (32, 128, 64, 256, 16)]
    heard: list[CompileReport] = []
    reports = compile_recorded(launches, ("sm_80", "gfx942"), seconds=2.0, answered=heard.append)
    assert [report.target for report in reports] == ["sm_80", "gfx942"] * 5
    assert [report.registers for report in reports[::2]] == [32, 0, 64, 0, 16]
    died, late = reports[2].error, reports[6].error
    assert died is not None
    assert "LLVM ERROR: Cannot select" in died
    assert "code -6" in died
    assert late is not None
    assert "2 s" in late
    assert len(heard) == len(reports)


def test_what_was_compiled_is_known_and_what_failed_is_not(fake: None, tmp_path: Path) -> None:
    store = ReportStore(tmp_path)
    launches = [add(block=32), add(block=128)]
    first = compile_recorded(launches, ("sm_90",), store=store)
    asked: list[CompileReport] = []
    again = compile_recorded(launches, ("sm_90",), store=store, answered=asked.append)
    assert again == first
    assert [report.kernel for report in asked] == ["vector_add"]
    assert asked[0].error is not None
    others: list[CompileReport] = []
    compile_recorded([add(block=32)], ("sm_80",), store=store, answered=others.append)
    compile_recorded([add(block=32)], ("sm_90",), store=store, census=True, answered=others.append)
    assert len(others) == 2


def test_other_configurations_are_tried_there_too(fake: None) -> None:
    (report,) = compile_recorded([replace(add(block=512), num_stages=4)], ("sm_90",))
    assert report.advice is not None
    assert report.advice.text == "num_stages 2 would fit (200,000 B)"


def test_other_configurations_that_never_end_cost_the_kernel_no_report(fake: None, tmp_path: Path) -> None:
    store = ReportStore(tmp_path)
    launches = [replace(add(block=1024), num_stages=4), add(block=64)]
    first, second = compile_recorded(launches, ("sm_90",), seconds=1.0, store=store)
    assert (first.error, first.registers, first.shared_bytes) == (None, 1024, 400_000)
    assert first.advice is not None
    assert "did not end" in first.advice.text
    assert second.registers == 64
    assert len(list(tmp_path.rglob("*.json"))) == 1  # what the machine had no time for is asked again


def test_a_function_may_say_how_much_each_launch_may_spill(fake: None) -> None:
    asked: list[int] = []

    def limit(launch: Any) -> int | None:
        asked.append(launch.arguments["BLOCK"])
        return None

    compile_recorded([add(block=32), add(block=64)], ("sm_90",), spill_limit=limit)
    assert asked == [32, 64]


def test_a_damaged_answer_is_made_again(fake: None, tmp_path: Path) -> None:
    store = ReportStore(tmp_path)
    first = compile_recorded([add()], ("sm_90",), store=store)
    (file,) = tmp_path.rglob("*.json")
    for damage in (b"", b"{}", b'{"kind": "recorded", "value": {"kernel": "x"}}', b'{"kind": "report"}'):
        file.write_bytes(damage)
        asked: list[CompileReport] = []
        assert compile_recorded([add()], ("sm_90",), store=store, answered=asked.append) == first
        assert len(asked) == 1


def test_nothing_to_compile_is_no_report() -> None:
    assert compile_recorded([], ("sm_90",)) == []
