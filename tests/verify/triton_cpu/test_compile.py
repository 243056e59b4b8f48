"""Ahead-of-time compiles in the process that also interprets, in either order."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.verify.triton_cpu.kernels import SOURCE
from verify.triton_cpu import private
from verify.triton_cpu.compile import CompileArgument, CompilePointer, CompileReport, compile_launch
from verify.triton_cpu.launch import KernelError, load_kernels
from verify.triton_cpu.private import JITFunction, core, tl
from verify.triton_cpu.resources import SHARED_LIMIT_BYTES, TARGETS, Target, amd_resources, over_limits
from verify.triton_cpu.selftest import run_once


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("triton"))


@pytest.fixture(scope="module")
def kernels() -> dict[str, JITFunction]:
    return load_kernels(SOURCE, "<kernels under test>")


def matmul(dtype: str, **changes: Any) -> dict[str, CompileArgument]:
    pointers = {name: CompilePointer(dtype=dtype) for name in "abc"}
    return {**pointers, "M": 64, "N": 64, "K": 64, "BM": 32, "BN": 32, "BK": 32, "P": "ieee", **changes}


def compiled(
    kernel: JITFunction, arguments: dict[str, CompileArgument], target: Target, scratch: str
) -> CompileReport:
    return compile_launch(kernel, arguments, num_warps=4, num_stages=2, target=target, scratch=scratch)


@pytest.mark.parametrize("target", TARGETS)
def test_a_matmul_compiles_and_fits_everywhere(
    kernels: dict[str, JITFunction], target: Target, scratch: str
) -> None:
    report = compiled(kernels["matmul"], matmul("bfloat16"), target, scratch)
    assert report.error is None
    assert (report.kernel, report.target, report.spill_bytes) == ("matmul", target, 0)
    assert 0 < report.registers <= 512
    assert 0 < report.shared_bytes <= SHARED_LIMIT_BYTES[target]
    assert over_limits(target, report.shared_bytes) is None


@pytest.mark.parametrize("precision", ["ieee", "tf32"])
def test_the_precision_of_float32_dots_is_read_from_the_program(
    kernels: dict[str, JITFunction], precision: str, scratch: str
) -> None:
    report = compiled(kernels["matmul"], matmul("float32", P=precision), "sm_90", scratch)
    assert report.dot_precision == {precision}
    assert compiled(kernels["matmul"], matmul("bfloat16"), "sm_90", scratch).dot_precision == frozenset()


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("not_a_power_of_two", {}, "power of 2"),
        ("block_condition", {}, "ambiguous"),
        ("method_of_one", {"n": 1}, "no attribute 'to'"),
    ],
)
def test_a_refusal_is_a_value_that_the_interpreter_shares(
    kernels: dict[str, JITFunction], name: str, arguments: dict[str, int], message: str, scratch: str
) -> None:
    report = compiled(kernels[name], {"out": CompilePointer(dtype="float32"), **arguments}, "sm_90", scratch)
    assert report.error is not None
    assert message in report.error
    assert (report.registers, report.shared_bytes) == (0, 0)
    with pytest.raises(KernelError):
        run_once(kernels[name], {}, ("out", 4, "float32"), arguments)


def test_interpreting_and_compiling_do_not_disturb_each_other(
    kernels: dict[str, JITFunction], scratch: str
) -> None:
    x = np.arange(8.0)
    want = compiled(
        kernels["read_at"],
        {
            "x": CompilePointer(dtype="float32"),
            "out": CompilePointer(dtype="float32"),
            "offset": 0,
            "BLOCK": 8,
        },
        "sm_90",
        scratch,
    )
    for _ in range(2):
        got, _ = run_once(
            kernels["read_at"], {"x": (x, "float32")}, ("out", 8, "float32"), {"offset": 0, "BLOCK": 8}
        )
        assert got.tolist() == x.tolist()
        again = compiled(
            kernels["read_at"],
            {
                "x": CompilePointer(dtype="float32"),
                "out": CompilePointer(dtype="float32"),
                "offset": 0,
                "BLOCK": 8,
            },
            "sm_90",
            scratch,
        )
        assert (again.error, again.registers) == (None, want.registers)


def test_the_language_is_restored_after_an_exception(kernels: dict[str, JITFunction], scratch: str) -> None:
    before = (
        tl.load,
        core.tensor.__add__,
        core.tensor.__init__,
        core.reduce,
        JITFunction.__call__,
        vars(tl.dtype)["to_ir"],
    )
    with pytest.raises(KernelError):
        run_once(kernels["not_a_power_of_two"], {}, ("out", 4, "float32"))
    after = (
        tl.load,
        core.tensor.__add__,
        core.tensor.__init__,
        core.reduce,
        JITFunction.__call__,
        vars(tl.dtype)["to_ir"],
    )
    assert before == after
    report = compiled(kernels["matmul"], matmul("float32"), "sm_90", scratch)
    assert report.error is None


def test_alignment_changes_the_specialisation(kernels: dict[str, JITFunction], scratch: str) -> None:
    reports = {}
    for aligned in (True, False):
        pointers = {name: CompilePointer(dtype="float32", divisible16=aligned) for name in ("x", "y", "out")}
        report = compiled(kernels["vector_add"], {**pointers, "n": 1024, "BLOCK": 1024}, "sm_90", scratch)
        assert report.error is None
        reports[aligned] = report.registers
    assert reports[True] != reports[False]


def test_compiling_writes_only_to_its_scratch_folder(kernels: dict[str, JITFunction], tmp_path: Path) -> None:
    before = (private.driver._active, private.triton.knobs.cache.dir)
    printed = io.StringIO()
    with redirect_stdout(printed):
        report = compiled(
            kernels["vector_add"],
            {
                **{name: CompilePointer(dtype="bfloat16") for name in ("x", "y", "out")},
                "n": 100,
                "BLOCK": 128,
            },
            "sm_80",
            str(tmp_path),
        )
    assert report.error is None
    assert any(tmp_path.rglob("*.cubin"))
    assert printed.getvalue() == ""
    assert before == (private.driver._active, private.triton.knobs.cache.dir)


def test_amd_numbers_come_from_the_metadata() -> None:
    text = "  .vgpr_count:     128\n  .vgpr_spill_count: 3\n  .private_segment_fixed_size: 16\n"
    assert amd_resources(text).spill_bytes == 12
    assert amd_resources(text).registers == 128


def test_too_much_shared_memory_is_named() -> None:
    message = over_limits("gfx942", 65537)
    assert message is not None
    assert "65536" in message
    assert "65537" in message
