"""Ahead-of-time compiles in the process that also interprets, in either order."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.verify.triton_cpu.kernels import SOURCE
from verify.triton_cpu import private
from verify.triton_cpu.compiler.compile import CompileArgument, CompilePointer, CompileReport, compile_launch
from verify.triton_cpu.compiler.resources import ToolError, amd_resources, ptxas_resources
from verify.triton_cpu.compiler.targets import FACTS, TARGETS, Target
from verify.triton_cpu.interpreter.launch import KernelError, load_kernels
from verify.triton_cpu.private import JITFunction, core, tl
from verify.triton_cpu.selftest.runner import run_once

UNIT = {"sm_80": "mma.sync", "sm_90": "mma.sync", "sm_100": "mma.sync", "gfx942": "mfma"}  # 32 rows: no wgmma


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
    assert 0 < report.shared_bytes <= FACTS[target].shared_block_bytes
    assert report.fits
    assert report.occupancy is not None
    assert report.occupancy.blocks >= 1
    assert [(dot.text, dot.count) for dot in report.dots] == [("bf16 -> f32", 1)]
    assert set(report.tensor_units) == {UNIT[target]}
    assert set(report.index) == {"i32"}
    assert CompileReport.from_json(json.loads(json.dumps(report.to_json()))) == report


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


def test_a_census_counts_what_the_units_say(kernels: dict[str, JITFunction], scratch: str) -> None:
    asked = {"num_warps": 4, "num_stages": 2, "scratch": scratch, "census": True}
    report = compile_launch(kernels["matmul"], matmul("bfloat16"), target="sm_90", **asked)
    assert report.census is not None
    assert sum(report.census["tensor core"].values()) == report.tensor_units["mma.sync"]
    assert report.census["all"]["total"] > 100
    assert report.census["global"].keys() >= {"STG.128"}
    amd = compile_launch(kernels["matmul"], matmul("bfloat16"), target="gfx942", **asked)
    assert amd.census is not None
    assert sum(amd.census["tensor core"].values()) == amd.tensor_units["mfma"]


def test_options_that_a_target_does_not_know_are_left_out_and_named(
    kernels: dict[str, JITFunction], scratch: str
) -> None:
    pointers = {name: CompilePointer(dtype="float32") for name in ("x", "y", "out")}
    arguments = {**pointers, "n": 64, "BLOCK": 64}
    options = {"maxnreg": 32, "waves_per_eu": 2, "num_ctas": None}
    for target, kept, ignored in (
        ("sm_80", {"maxnreg": 32}, ("waves_per_eu",)),
        ("gfx942", {"waves_per_eu": 2}, ("maxnreg",)),
    ):
        report = compile_launch(
            kernels["vector_add"],
            arguments,
            num_warps=None,
            num_stages=None,
            target=target,
            options=options,
            scratch=scratch,
        )
        assert (report.error, dict(report.options), report.ignored) == (None, kept, ignored)
        assert report.num_warps == 4


def test_registers_are_those_of_the_last_kernel_in_the_log() -> None:
    log = """ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'k' for 'sm_90a'
ptxas info    : Function properties for k
    24 bytes stack frame, 16 bytes spill stores, 12 bytes spill loads
ptxas info    : Function properties for helper
    40 bytes stack frame, 8 bytes spill stores, 8 bytes spill loads
ptxas info    : Used 168 registers, used 1 barriers, 64 bytes cumulative stack size
ptxas info    : Compile time = 5.0 ms
"""
    found = ptxas_resources("ptxas info    : Used 7 registers\n" + log)
    assert (found.registers, found.stack_bytes, found.spill_bytes) == (168, 40, 24)
    assert len(found.warnings) == 1
    assert "serialized" in found.warnings[0]
    with pytest.raises(ToolError, match="registers"):
        ptxas_resources("nothing of the kind")


def test_what_a_kernel_prints_while_it_compiles_is_not_taken_for_the_log(scratch: str) -> None:
    source = """
@triton.jit
def lies(out):
    tl.static_print("ptxas info    : Compiling entry function 'lies' for 'sm_80'")
    tl.static_print("ptxas info    : Used 1 registers")
    tl.store(out + tl.arange(0, 256), tl.arange(0, 256) * 3)
"""
    kernel = load_kernels(source, "<lies>")["lies"]
    for _ in range(2):  # the second time Triton has it in its cache
        report = compiled(kernel, {"out": CompilePointer(dtype="int32")}, "sm_80", scratch)
        assert report.error is None
        assert report.registers > 4
