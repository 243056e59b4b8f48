"""`verify compile` on specs of libraries: recorded without running, compiled, remembered."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton")

from verify.resources import libraries as module
from verify.resources.cli import _files
from verify.resources.libraries import ForeignCompiled, compile_foreign, is_foreign
from verify.resources.table import document_lines
from verify.triton_cpu.compiler.report import Advice, CompileReport
from verify.triton_cpu.compiler.report_store import ReportStore

SPEC = Path(__file__).parents[1] / "foreign" / "specs" / "decayed_sum.py"
TARGETS = ("sm_90",)


def compiled(
    paths: list[Path], store: ReportStore | None = None, *, census: bool = False
) -> tuple[list[ForeignCompiled], list[str]]:
    said: list[str] = []
    files = [(path, path.read_bytes()) for path in paths]
    return compile_foreign(files, TARGETS, census=census, store=store, say=said.append), said


@pytest.mark.slow
def test_an_operator_is_compiled_as_it_is_launched_and_a_dead_process_is_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dies = tmp_path / "dies.py"
    words = "import os\nfrom verify.foreign.spec import Spec\nprint('last words', flush=True)\n"
    dies.write_text(f"{words}os._exit(7)\n")
    monkeypatch.setattr(module, "PROCESSES", 1)  # so that the second spec comes after a dead process
    (bad, good), said = compiled([dies, SPEC], census=True)
    kernels = {report["kernel"]: report for report in good.row["reports"]}
    assert set(kernels) == {"forward_kernel", "backward_kernel"}
    assert (good.failed, good.row["findings"], good.row["trust"]) == (False, [], "vendor")
    assert good.row["launches"] == {"model, bfloat16": 2}
    for report in kernels.values():
        assert (report["error"], report["file"], report["configurations"]) == (None, "decayed_sum.py", 1)
        assert report["census"]["global"]["STG.16"] > 0
        assert report["index"]
    assert bad.failed
    assert "(7)" in bad.row["findings"][0]["message"]
    assert "last words" in bad.row["findings"][0]["message"]
    assert sum("for sm_90: compiled" in line for line in said) == 2


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """A child that answers at once: an autotuned kernel that does not fit."""
    asked: list[Path] = []
    report = CompileReport(
        kernel="k",
        target="sm_90",
        num_warps=8,
        num_stages=4,
        shared_bytes=279_552,
        advice=Advice(tried=(), text="num_stages 2 would fit (186,368 B)"),
        line=12,
    )
    row = {**report.to_json(), "file": "lib.py", "configurations": 11}

    def ask(_self: object, path: Path, _say: object, *, processes: int) -> dict[str, Any]:
        asked.append(path)
        path.with_suffix(".processes").write_text(f"{processes}")
        if path.stem == "missing":
            return {"event": "failed", "rule": "unavailable", "message": "expected lib==1, found no lib"}
        if path.stem == "refused":
            return {"event": "failed", "rule": "CON-WRAPPER-ERROR", "message": "lib.py:3 raised ValueError"}
        versions = {"triton": version("triton")}
        done = {"event": "done", "versions": versions, "shape": "usual, bfloat16", "launches": 3}
        return {**done, "reports": [dict(row)]}

    monkeypatch.setattr(module._Child, "ask", ask)
    return asked


def spec(folder: Path, name: str) -> Path:
    path = folder / f"{name}.py"
    path.write_text(f"from verify.foreign.spec import Spec\n# {name}\n")
    return path


def test_what_an_autotuner_would_skip_is_said_to_be_that(asked: list[Path], tmp_path: Path) -> None:
    ((one,), _) = compiled([spec(tmp_path, "usual")])
    (finding,) = one.row["findings"]
    assert (finding["rule"], finding["where"]) == ("CMP-SHARED", "sm_90, usual, bfloat16, lib.py:12")
    assert "num_stages 2 would fit" in finding["message"]
    assert "first of 11 configurations of an autotuner" in finding["message"]
    assert "k  " in "\n".join(document_lines({"mechanisms": [], "libraries": [one.row]}))


def test_answers_are_remembered_while_the_versions_are_the_same(
    asked: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, path = ReportStore(tmp_path / "store"), spec(tmp_path, "usual")
    first, _ = compiled([path], store)
    again, _ = compiled([path], store)
    assert [one.row for one in again] == [one.row for one in first]
    assert (first[0].compiled, again[0].compiled, len(asked)) == (1, 0, 1)
    monkeypatch.setattr(module, "version", lambda _name: "0.0")
    compiled([path], store)
    assert len(asked) == 2
    monkeypatch.setattr(module, "version", version)
    (file,) = (tmp_path / "store").rglob("*.json")
    for damage in ("", "{}", file.read_text().replace('"kernel"', '"colonel"')):
        file.write_text(damage)
        assert [one.row for one in compiled([path], store)[0]] == [one.row for one in first]
    assert len(asked) == 5


def test_what_failed_is_asked_again(asked: list[Path], tmp_path: Path) -> None:
    store = ReportStore(tmp_path / "store")
    paths = [spec(tmp_path, "missing"), spec(tmp_path, "refused"), spec(tmp_path, "usual")]
    for _ in range(2):
        missing, refused, usual = compiled(paths, store)[0]
        assert (missing.failed, refused.failed, usual.failed) == (True, False, False)
        assert missing.row["findings"][0]["rule"] == "CMP-FAILED"
        assert refused.row["findings"][0]["rule"] == "CON-WRAPPER-ERROR"
    assert [path.stem for path in asked].count("usual") == 1
    assert len(asked) == 5


def test_the_last_specs_share_what_the_others_leave_idle(asked: list[Path], tmp_path: Path) -> None:
    paths = [spec(tmp_path, name) for name in ("a", "b", "c", "d")]
    compiled(paths)
    assert sorted(asked) == paths
    assert [path.with_suffix(".processes").read_text() for path in paths] == ["1", "1", "2", "2"]


def test_specs_and_mechanisms_are_told_apart_in_folders() -> None:
    root = Path(__file__).resolve().parents[3]
    found = _files([root / "templates", root / "verify" / "foreign"])
    specs = [path for path in found if is_foreign(path.read_bytes())]
    assert len(specs) >= 14
    assert {path.parent.name for path in specs} == {"specs"}
    assert {path.parent.name for path in found if path not in specs} == {"v1"}
