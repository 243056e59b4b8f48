"""What the repository says in several places must be the same: commands, versions, dependencies, contents."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.test_layout import PACKAGES, ROOT, SOURCES, imported_roots, named

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CI = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
WORKFLOW = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
NOXFILE = ast.parse((ROOT / "noxfile.py").read_text(encoding="utf-8"))
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def sessions() -> set[str]:
    functions = [node for node in NOXFILE.body if isinstance(node, ast.FunctionDef)]
    marks = {node.name: " ".join(map(ast.unparse, node.decorator_list)) for node in functions}
    return {name for name, text in marks.items() if "nox.session" in text}


def commands(text: str) -> list[str]:
    """The lines of a document's console blocks, without comments."""
    blocks = re.findall(r"^```(?:bash|console|sh)\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    return [line.split("#")[0].removeprefix("$ ").strip() for block in blocks for line in block.splitlines()]


def assigned(name: str) -> tuple[str, ...]:
    """The literal that a name of the noxfile stands for."""
    values = [
        node.value
        for node in NOXFILE.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name
    ]
    assert len(values) == 1
    literal: tuple[str, ...] = ast.literal_eval(values[0])
    return literal


def pinned() -> list[Requirement]:
    return [Requirement(text) for text in assigned("PINNED")]


IMPORTED_AS = {"fla-core": "fla"}
BUILT_APART = {"mamba_ssm"}  # by `nox -s foreign`: it does not build like a package
FOR_OTHERS = {"einops"}  # fla wants it, and is installed without what it would bring along


def import_name(requirement: str) -> str:
    name = Requirement(requirement).name
    return IMPORTED_AS.get(name, name.replace("-", "_"))


@pytest.mark.parametrize("command", ["nox -s design", "nox -s tests"])
def test_the_readme_shows_both_commands(command: str) -> None:
    assert command in commands(README)


def test_the_ci_script_runs_the_test_command_of_the_readme() -> None:
    assert re.search(r"^nox -s tests\b", CI, flags=re.MULTILINE)
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_the_workflow_runs_the_ci_script() -> None:
    assert "- run: .ci/run\n" in WORKFLOW


def test_the_workflow_may_only_read() -> None:
    assert re.findall(r"^permissions:\n((?: +.*\n)+)", WORKFLOW, flags=re.MULTILINE) == ["  contents: read\n"]


def test_the_workflow_tests_every_supported_python() -> None:
    prefix = "Programming Language :: Python :: "
    supported = [one.removeprefix(prefix) for one in PROJECT["classifiers"] if one.startswith(prefix)]
    matrix = re.search(r"python: \[(.*)\]", WORKFLOW)
    assert matrix is not None
    assert re.findall(r'"([\d.]+)"', matrix.group(1)) == supported
    script = (ROOT / "noxfile.py").read_text(encoding="utf-8")
    assert f'# requires-python = "{PROJECT["requires-python"]}"' in script


def test_the_workflow_asks_every_triton_that_the_interpreter_knows() -> None:
    known = assigned("TRITONS")
    matrix = re.search(r"triton: \[(.*)\]", WORKFLOW)
    assert matrix is not None
    assert tuple(re.findall(r'"([\d.]+)"', matrix.group(1))) == known
    (triton,) = (one for one in map(Requirement, PROJECT["dependencies"]) if one.name == "triton")
    assert [version for version in known if f"{version}.0" not in triton.specifier] == []
    assert not any(text in triton.specifier for text in ("3.5.1", "3.10.0"))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_session_a_document_names_exists(document: Path) -> None:
    mentioned = re.findall(r"nox (?:-R )?-s ([a-z_]+)", document.read_text(encoding="utf-8"))
    assert set(mentioned) <= sessions()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_inside_the_repository_leads_somewhere(document: Path) -> None:
    prose = re.sub(r"```.*?```|`[^`\n]*`", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = re.findall(r"(?<!\w)\[[^\]]*\]\((?!https?:|#)([^)#\s]+)", prose)
    assert [target for target in targets if not (document.parent / target).exists()] == []


def test_the_changelog_begins_with_the_version_of_the_package() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (\S+)", changelog, flags=re.MULTILINE)[0] == PROJECT["version"]


def test_sessions_pin_versions_that_the_package_allows() -> None:
    allowed = {one.name: one.specifier for one in map(Requirement, PROJECT["dependencies"])}
    for requirement in pinned():
        version = str(requirement.specifier).removeprefix("==").replace("*", "0")
        assert allowed[requirement.name].contains(version), requirement


def test_dependencies_are_exactly_what_the_code_imports() -> None:
    standard = {*sys.stdlib_module_names, *PACKAGES}
    imported = {root for path in SOURCES for _, root in imported_roots(path)} - standard
    extras = {name: group for name, group in PROJECT["optional-dependencies"].items() if name != "dev"}
    declared = [*PROJECT["dependencies"], *(one for group in extras.values() for one in group)]
    assert imported - BUILT_APART == {import_name(one) for one in declared} - FOR_OTHERS


def test_nothing_names_a_package_index() -> None:
    texts = [ROOT / name for name in ("noxfile.py", "pyproject.toml", ".ci/run", ".github/workflows/ci.yml")]
    hosts = re.compile(r"index-url|find-links|https?://|PIP_INDEX|UV_INDEX")
    assert [path.name for path in texts if hosts.search(path.read_text(encoding="utf-8"))] == []


def test_the_wheel_holds_the_packages_with_their_data_and_nothing_else(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    run = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file()]
    assert names == {named(path) for path in files if "__pycache__" not in path.parts}
    assert {"verify/py.typed", "templates/linear_state/notes.md"} <= names
