"""What a reviewer is promised: small differences, a true example, and files to copy that work."""

from __future__ import annotations

import ast
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.verify.gate.scratch import ROOT, Scratch
from verify.judge.verdict import Verdict

CANDIDATES = sorted(path.parent for path in (ROOT / "candidates").glob("*/*/mechanism.py"))
MOST_CHANGED_LINES = 40
DOCUMENT = (ROOT / "docs" / "reviewing.md").read_text(encoding="utf-8")
WORKFLOW = (ROOT / "docs" / "workflows" / "gate.yml").read_text(encoding="utf-8")
HOOKS = (ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def merged(tmp_path_factory: pytest.TempPathFactory) -> Scratch:
    """`main` has the templates, `pr` every candidate."""
    scratch = Scratch(tmp_path_factory.mktemp("reviewing") / "repository")
    scratch.root.mkdir()
    scratch.git("init", "--quiet", "--initial-branch=main")
    shutil.copytree(ROOT / "templates", scratch.root / "templates")
    shutil.copy(ROOT / ".gitattributes", scratch.root)
    scratch.commit("templates")
    scratch.git("switch", "--quiet", "--create", "pr")
    shutil.copytree(ROOT / "candidates", scratch.root / "candidates")
    scratch.commit("candidates")
    return scratch


def difference(scratch: Scratch, folder: Path, *options: str) -> list[str]:
    file = (folder / "mechanism.py").relative_to(ROOT).as_posix()
    copies = ("-C", "--find-copies-harder")
    return scratch.git("diff", *copies, *options, "main", "--", "templates", file).splitlines()


@pytest.mark.parametrize("folder", CANDIDATES, ids=lambda folder: folder.name)
def test_a_candidate_is_its_skeleton_with_few_changed_lines(merged: Scratch, folder: Path) -> None:
    skeleton = Verdict.from_bytes((folder / "verdict.json").read_bytes()).skeleton
    if skeleton is None:
        return  # a free mechanism has nothing to be compared with
    lines = difference(merged, folder, "-U0")
    assert f"copy from templates/{skeleton}.py" in lines
    changed = [line for line in lines if line[:1] in "+-" and not line.startswith(("--- a/", "+++ b/"))]
    assert 0 < len(changed) <= MOST_CHANGED_LINES


def test_the_example_is_what_git_prints(merged: Scratch) -> None:
    found = re.search(r"<!-- example: (\S+) -->\n```diff\n(.*?)\n```\n<!-- end", DOCUMENT, flags=re.DOTALL)
    assert found is not None
    (folder,) = [folder for folder in CANDIDATES if folder.name == found[1]]
    lines = difference(merged, folder, "-U0")
    start = next(number for number, line in enumerate(lines) if line.startswith("--- "))
    assert found[2].split("\n") == lines[start:]
    assert len(lines) - start <= MOST_CHANGED_LINES


def test_measured_numbers_are_folded_and_bytes_are_kept(merged: Scratch) -> None:
    folder = CANDIDATES[0].relative_to(ROOT).as_posix()
    numbers, source = f"{folder}/measured/cpu.json", f"{folder}/mechanism.py"
    attributes = merged.git("check-attr", "diff", "linguist-generated", "text", "--", numbers, source)
    assert attributes.splitlines() == [
        f"{numbers}: diff: unset",
        f"{numbers}: linguist-generated: set",
        f"{numbers}: text: unset",
        f"{source}: diff: unspecified",
        f"{source}: linguist-generated: unspecified",
        f"{source}: text: unset",
    ]


def test_the_workflow_runs_the_gate_of_the_base_with_read_access_only() -> None:
    assert re.findall(r"^permissions:\n((?: +.*\n)+)", WORKFLOW, flags=re.MULTILINE) == ["  contents: read\n"]
    assert "\n  pull_request:\n" in WORKFLOW
    assert "pull_request_target:" not in WORKFLOW
    assert "fetch-depth: 0" in WORKFLOW
    assert 'python -P -m verify gate --base "origin/$BASE"' in WORKFLOW
    # What an expression of GitHub holds is put into a script as text; a branch may be called `$(...)`.
    assert not [
        line for line in WORKFLOW.splitlines() if "${{" in line and re.search(r"run:|git |python ", line)
    ]


def test_the_workflow_installs_what_verdicts_are_made_with() -> None:
    tree = ast.parse((ROOT / "noxfile.py").read_text(encoding="utf-8"))
    (pins,) = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "PINNED"
    ]
    assert all(f'"{pin}"' in WORKFLOW for pin in pins)


def test_every_option_that_is_written_down_exists() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "verify", "gate", "--help"],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "COLUMNS": "200", "NO_COLOR": "1"},
        text=True,
        capture_output=True,
        check=True,
    ).stdout
    command = WORKFLOW[WORKFLOW.index("verify gate") :].split("||")[0]
    options = set(re.findall(r"--[a-z]+", command)) | {"--seed", "--json", "--output", "--junit", "--sarif"}
    assert [option for option in sorted(options) if option not in shown] == []


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        *((folder.relative_to(ROOT).as_posix() + "/mechanism.py", True) for folder in CANDIDATES),
        ("templates/linear_state/v1/ungated.py", True),
        ("templates/__init__.py", False),
        ("candidates/linear_state/mechanism.py", False),
        ("tests/honest/running_sum.py", False),
    ],
)
def test_the_hook_takes_mechanisms_and_nothing_else(path: str, wanted: bool) -> None:
    (pattern,) = re.findall(r"^  files: (.*)$", HOOKS, flags=re.MULTILINE)
    assert bool(re.search(pattern, path)) == wanted


def test_the_hook_accepts_a_candidate_and_refuses_a_broken_one(tmp_path: Path) -> None:
    (entry,) = re.findall(r"^  entry: (.*)$", HOOKS, flags=re.MULTILINE)
    command = [sys.executable if word == "python" else word for word in shlex.split(entry)]
    broken = tmp_path / "mechanism.py"
    broken.write_text(
        (CANDIDATES[0] / "mechanism.py").read_text().replace("import torch\n", "import os\n", 1)
    )
    for file, code in ((CANDIDATES[0] / "mechanism.py", 0), (broken, 1)):
        done = subprocess.run([*command, str(file)], cwd=ROOT, text=True, capture_output=True, check=False)
        assert done.returncode == code, done.stderr
