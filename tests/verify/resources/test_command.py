"""`verify compile`: what it says about a mechanism, and what it remembers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest

from verify.judge.compiling import Job, Shape
from verify.judge.judge import IsolationError, Judge
from verify.plan.specialise import Specialisation, Specialised
from verify.resources.command import Compiled, Request, compile_files, unit_key
from verify.resources.table import document_lines
from verify.sandbox.client import Server
from verify.triton_cpu.compiler.report import Advice, CompileReport
from verify.triton_cpu.compiler.report_store import ReportStore

REQUEST = Request(
    targets=("sm_90",), shapes=(Shape(dtype="bfloat16", head=64),), census=True, require_isolation=True
)
BROKEN = b"import os\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reports")


class Borrowed:
    """The server that all tests of this folder share, which no command may close."""

    def __init__(self, server: Server) -> None:
        self.isolation, self.worker = server.isolation, server.worker

    def close(self) -> None:
        """Not ours to close."""


@pytest.fixture(scope="module")
def first(folder: Path, honest: str, judge: Judge) -> Compiled:
    """A mechanism and a file that is none, from nothing."""
    sources = [(Path("broken.py"), BROKEN), (Path("honest.py"), honest.encode())]
    server = judge.server
    assert server is not None

    def lend() -> Any:
        return Borrowed(server)

    return compile_files(
        sources, REQUEST, store=ReportStore(folder), say=lambda _line: None, make_server=lend
    )


def test_each_kernel_is_reported_and_a_broken_file_is_a_finding(first: Compiled) -> None:
    broken, honest = first.document["mechanisms"]
    assert (broken["reports"], first.rejected, first.timed_out) == ([], 1, False)
    assert broken["findings"][0]["rule"].startswith(("POL-", "CON-"))
    assert honest["findings"] == []
    assert {report["kernel"] for report in honest["reports"]} >= {"_forward_kernel", "_backward_kernel"}
    assert sum(report["launches"] for report in honest["reports"]) == sum(honest["launches"].values())
    for report in honest["reports"]:
        assert report["error"] is None
        assert report["registers"] > 0
        assert report["occupancy"]["limited_by"]
        assert report["census"]["all"]["total"] > 0
        assert report["line"] > 0


def test_what_was_compiled_needs_no_server(first: Compiled, folder: Path, honest: str) -> None:
    def no_server() -> NoReturn:
        pytest.fail("a server was started")

    sources = [(Path("broken.py"), BROKEN), (Path("honest.py"), honest.encode())]
    again = compile_files(
        sources, REQUEST, store=ReportStore(folder), say=lambda _line: None, make_server=no_server
    )
    assert again.document == first.document
    assert again.compiled == 0
    other = honest.replace('"""Linear', '"""A linear', 1).encode()
    with pytest.raises(BaseException, match="a server was started"):
        compile_files(
            [(Path("honest.py"), other)],
            REQUEST,
            store=ReportStore(folder),
            say=lambda _line: None,
            make_server=no_server,
        )


def test_no_source_answers_for_another(first: Compiled, folder: Path, honest: str) -> None:
    """Every stored report hangs on all bytes of its source: the same kernel in another file is unknown."""
    launch = Specialisation(kernel="_forward_kernel", arguments=(), num_warps=4, num_stages=3)
    one = Specialised(specialisation=launch, line=1, launches=1)
    (unit,) = Job(shape=REQUEST.shapes[0], target="sm_90", kernels=(one,)).units(honest.encode())
    others = [
        replace(unit, source=honest.replace("one learned", "a learned", 1).encode()),
        replace(unit, target="sm_80"),
        replace(unit, census=True),
        replace(unit, launch=replace(launch, num_stages=2)),
        replace(unit, launch=replace(launch, arguments=(("n", True),))),
        replace(unit, launch=replace(launch, arguments=(("n", 1),))),
    ]
    store = ReportStore(folder / "keys")
    store.put("report", unit_key(unit), {"number": 0})
    for number, other in enumerate(others):
        assert store.get("report", unit_key(other)) is None
        store.put("report", unit_key(other), {"number": number + 1})
    assert store.get("report", unit_key(unit)) == {"number": 0}
    assert store.get("kernels", unit_key(unit)) is None


def test_the_table_names_what_is_wrong(first: Compiled) -> None:
    lines = document_lines(first.document)
    text = "\n".join(lines)
    assert "_forward_kernel" in text
    assert "instructions; " in text
    assert "broken.py:1:1 " in text
    assert all(line == line.rstrip() for line in lines)


def test_a_report_in_trouble_is_shown_with_what_was_tried() -> None:
    report = CompileReport(
        kernel="k",
        target="sm_90",
        num_warps=8,
        num_stages=4,
        shared_bytes=279_552,
        ignored=("maxnreg",),
        warnings=("slow",),
        advice=Advice(tried=(), text="num_stages 2 would fit (186,368 B)"),
    )
    failed = replace(report, shared_bytes=0, advice=None, error="CompilationError: no")
    reports = [report.shown(), failed.shown(seconds=True)]
    mechanism = {"path": "m.py", "launches": {"here": 2}, "findings": [], "reports": reports}
    text = "\n".join(document_lines({"mechanisms": [mechanism]}))
    assert "does not fit" in text
    assert "279,552 > 232,448" in text
    assert "k on sm_90: tried: num_stages 2 would fit (186,368 B)" in text
    assert "the assembler warns: slow" in text
    assert "no option maxnreg" in text
    assert "does not compile" in text
    assert "CompilationError: no" in text


def test_a_machine_that_cannot_confine_compiles_nothing(honest: str) -> None:
    class Weak(Server):
        @property
        def isolation(self) -> str:
            return "none"

    with pytest.raises(IsolationError, match="allow-weak-isolation"):
        compile_files(
            [(Path("honest.py"), honest.encode())],
            REQUEST,
            store=None,
            say=lambda _line: None,
            make_server=lambda: Weak(roles={}, preload=()),
        )
