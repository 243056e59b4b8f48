"""The memory checker's log is read as it is written, and an answer that is not clear is none."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.verify.device.test_execution import ref
from verify.device.sanitizer import Access, SanitizerError, find, memcheck, parse
from verify.plan.format import BufferDecl, Copy, Fill, Plan

CLEAN = "========= COMPUTE-SANITIZER\n========= ERROR SUMMARY: 0 errors\n"
TWO = """========= COMPUTE-SANITIZER
========= Invalid __global__ write of size 4 bytes
=========     at _forward_kernel+0x8b0 in /somewhere/<mechanism>:88
=========     by thread (3,0,0) in block (1,0,0)
=========     Address 0x7f0000000210 is out of bounds
========= Invalid __global__ read of size 16 bytes
=========     at 0x1f0 in _backward_kernel
=========     by thread (0,0,0) in block (0,0,0)
========= ERROR SUMMARY: 2 errors
"""


def test_a_clean_log_has_no_accesses() -> None:
    assert parse(CLEAN) == (0, [])


def test_accesses_come_with_kernel_and_line() -> None:
    write = Access(what="write", kernel="_forward_kernel", line=88)
    read = Access(what="read", kernel="_backward_kernel", line=0)
    assert parse(TWO) == (2, [write, read])


def test_a_log_that_was_cut_has_no_count() -> None:
    assert parse(TWO[:120])[0] is None


def program(folder: Path, log: str, status: int = 0) -> str:
    """Stands for compute-sanitizer: runs the program that it is given, then writes `log`."""
    path = folder / "compute-sanitizer"
    path.write_text(
        f"#!{sys.executable}\n"
        "import subprocess, sys\n"
        "arguments = sys.argv[1:]\n"
        "log = arguments[arguments.index('--log-file') + 1]\n"
        f"done = subprocess.run(arguments[arguments.index({sys.executable!r}):])\n"
        f"open(log, 'w').write({log!r} if done.returncode == 0 else 'the program failed')\n"
        f"sys.exit(done.returncode or {status})\n"
    )
    path.chmod(0o755)
    return str(path)


PLAN = Plan(
    buffers=(
        BufferDecl(nbytes=12, argument="x", label="x"),
        BufferDecl(nbytes=12, argument=None, label="y"),
    ),
    forward=(Fill(out=ref(1, 3), value=1.0, line=1), Copy(source=ref(0, 3), out=ref(1, 3), line=2)),
    output=ref(1, 3),
    state=(),
    residuals=(),
    backward=(),
    gradients=None,
)


def run(tool: str, data: bytes = bytes(12)) -> list[Access]:
    job = {"source": "", "plan": PLAN.to_json(), "kernels": [], "device": "cpu"}
    return memcheck(tool, job, [data])


def test_the_plan_is_run_under_the_checker(tmp_path: Path) -> None:
    assert run(program(tmp_path, CLEAN)) == []
    assert [access.what for access in run(program(tmp_path, TWO, status=1))] == ["write", "read"]


@pytest.mark.parametrize(
    ("log", "status", "data"),
    [
        ("", 0, bytes(12)),
        (CLEAN, 1, bytes(12)),
        ("========= ERROR SUMMARY: 3 errors\n", 1, bytes(12)),
        (CLEAN, 0, bytes(8)),  # the plan does not fit its arguments, so nothing was run
    ],
    ids=["nothing", "failed", "unreadable", "not run"],
)
def test_an_answer_that_is_not_clear_is_none(tmp_path: Path, log: str, status: int, data: bytes) -> None:
    with pytest.raises(SanitizerError):
        run(program(tmp_path, log, status), data)


def test_a_missing_program_is_no_answer(tmp_path: Path) -> None:
    with pytest.raises(SanitizerError, match="no answer"):
        run(str(tmp_path / "nowhere"))


def test_it_is_found_where_the_toolkit_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    tool = program(tmp_path / "bin", CLEAN)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    assert find() == tool
