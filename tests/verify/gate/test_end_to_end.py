"""The gate as a user runs it, with the real judge: one honest candidate and one broken one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.verify.gate.scratch import ADMITTED, CANDIDATES, ROOT, Scratch, wrong_line

READS_A_VALUE = "x * x.sum().item()"
OTHERS = set(ADMITTED) - set(CANDIDATES[1:])
SHORTEST = min(OTHERS, key=lambda folder: (folder / "mechanism.py").stat().st_size)
"""The simplest mechanism that `main` does not have, which is judged soonest."""

LESS = {
    "verify/judge/cases.py": (
        ("LONG = 521\n", "LONG = 131\n"),
        ('"T": 4096, "H": 16, "D": 64}', '"T": 512, "H": 4, "D": 16}'),
        ('"T": 8192, "H": 16, "D": 128}', '"T": 1024, "H": 4, "D": 16}'),
        ('    if depth == "full":\n        groups += [', "    if not depth:\n        groups += ["),
    ),
    "verify/judge/properties.py": (
        ("cuts += [block - 1, block + 1, self.cut(length)]", "pass"),
        ("cuts += [1, block, block + 1, length - 1, self.cut(length)]", "pass"),
    ),
    "verify/judge/compiling.py": (
        ('    (Shape(dtype="bfloat16", head=64), TARGETS),\n', ""),
        ('    (Shape(dtype="bfloat16", head=128), TARGETS),\n', ""),
    ),
}
"""Edits of the judge after which it asks all kinds of questions, but of fewer cases, lengths and targets."""


def read_value(source: str) -> str:
    """A slot of the definition that asks a tensor for its value."""
    start = source.index("def _phi_torch(")
    position = source.index("    return ", start)
    return f"{source[:position]}    return {READS_A_VALUE}{source[source.index(chr(10), position) :]}"


def run_gate(scratch: Scratch, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = "import sys; sys.path.insert(0, sys.argv.pop(1)); from verify.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-P", "-c", program, str(ROOT), "gate", "--base", "main", "--seed", "3", *arguments],
        cwd=scratch.root,
        text=True,
        capture_output=True,
        check=False,
    )


def ask_less(scratch: Scratch) -> None:
    """Give `main` a judge that asks less, and begin the branch again from there."""
    scratch.git("switch", "--quiet", "main")
    for name, edits in LESS.items():
        path = scratch.root / name
        text = path.read_text()
        for old, new in edits:
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        path.write_text(text)
    scratch.commit("a judge that asks less")
    scratch.git("switch", "--quiet", "--force-create", "pr")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("asked", ["less", pytest.param("everything", marks=pytest.mark.thorough)])
def test_the_real_judge_admits_the_honest_candidate_and_refuses_the_broken_one(
    scratch: Scratch, tmp_path: Path, asked: str
) -> None:
    """A verdict holds no sizes: a judge that asks of fewer cases reproduces it, byte for byte."""
    if asked == "less":
        ask_less(scratch)
    honest = scratch.add_honest(SHORTEST)
    broken = scratch.add_changed(read_value)
    (scratch.root / "torch.py").write_text("raise SystemExit(0)\n")
    scratch.commit()
    done = run_gate(
        scratch, "--json", "--sarif", str(tmp_path / "s.json"), "--summary", str(tmp_path / "s.md")
    )
    assert done.returncode == 1, done.stderr
    report = json.loads(done.stdout)
    results = {Path(one["path"]).name: one for one in report["subjects"]}
    assert results[honest.name]["result"] == "ok", results[honest.name]["findings"]
    assert set(results[honest.name]["stages"].values()) == {"pass"}
    assert results[honest.name]["fresh_stages"] == dict.fromkeys(("CON", "NUM", "GRD", "MEM"), "pass")
    assert results[broken.name]["result"] == "refused"
    line = wrong_line((broken / "mechanism.py").read_text(), READS_A_VALUE)
    found = json.loads((tmp_path / "s.json").read_bytes())["runs"][0]["results"]
    places = [one["locations"][0]["physicalLocation"] for one in found if one["ruleId"].startswith("POL-")]
    assert {place["region"]["startLine"] for place in places} == {line}
    assert {place["artifactLocation"]["uri"] for place in places} == {
        f"candidates/linear_state/{broken.name}/mechanism.py"
    }
    assert "Slots against the skeleton" in (tmp_path / "s.md").read_text()
