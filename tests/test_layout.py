"""The house rules that a machine can check: who may import whom, what loads what, names and sizes."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("templates", "verify", "harness")  # each may import itself and those to its left
LAYERS = (("memory",), ("interpreter",), ("compiler", "counting", "selftest"), ("host",), ("bench",))
"""The parts of `verify.triton_cpu`: each may import itself and those before its group."""
HEAVY = ("torch", "triton", "numpy")

MAX_LINES = 500
MAX_FUNCTION = 80
MAX_KERNEL = 200

SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
OURS = [*SOURCES, *sorted((ROOT / "tests").rglob("*.py")), ROOT / "noxfile.py"]
STATIC_HALF = [
    *("verify", "verify.findings", "verify.rules", "verify.seeds"),
    *(f"verify.source.{path.stem}" for path in sorted((ROOT / "verify" / "source").glob("[!_]*.py"))),
]


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def package_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0]


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imported_roots(path: Path) -> Iterator[tuple[int, str]]:
    """(line, top-level name) of every import in a file, also nested; a relative one gives its own package."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.split(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, package_of(path) if node.level else (node.module or "").split(".")[0]


def wrong_directions(path: Path) -> list[str]:
    beyond = {*PACKAGES[PACKAGES.index(package_of(path)) + 1 :], "tests", "candidates"}
    return [f"{named(path)}:{line} imports {name}" for line, name in imported_roots(path) if name in beyond]


def parts_imported(path: Path) -> set[str]:
    """The folders of `verify.triton_cpu` that a file imports from."""
    base = "verify.triton_cpu"
    modules = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.ImportFrom) and node.module == base:
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{base}."):
            modules.add((node.module or "").removeprefix(f"{base}.").split(".")[0])
    return modules


def long_functions(path: Path) -> Iterator[str]:
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            is_kernel = any("jit" in ast.unparse(mark) for mark in node.decorator_list)
            if lines > (MAX_KERNEL if is_kernel else MAX_FUNCTION):
                yield f"{named(path)}:{node.lineno} {node.name} has {lines} lines"


def run_python(program: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_imports_point_from_harness_to_verify_to_templates() -> None:
    assert SOURCES
    assert [wrong for path in SOURCES for wrong in wrong_directions(path)] == []


def test_the_parts_of_the_layer_under_the_judge_import_one_way() -> None:
    wrong = []
    for place, group in enumerate(LAYERS):
        for name in group:
            beyond = {part for later in LAYERS[place:] for part in later} - {name}
            for path in sorted((ROOT / "verify/triton_cpu" / name).rglob("*.py")):
                wrong += [f"{named(path)} imports {part}" for part in parts_imported(path) & beyond]
    assert wrong == []
    folders = {path.parent.name for path in (ROOT / "verify/triton_cpu").glob("*/__init__.py")}
    assert folders == {name for group in LAYERS for name in group}


def test_templates_import_only_what_the_contract_allows() -> None:
    mechanisms = [path for path in SOURCES if package_of(path) == "templates"]
    names = {name for path in mechanisms for _, name in imported_roots(path)}
    assert {"torch", "triton"} <= names <= {"math", "torch", "triton"}


def test_the_static_half_loads_neither_torch_nor_triton_nor_numpy() -> None:
    program = (
        "import importlib, sys\n"
        f"for name in {STATIC_HALF!r}:\n"
        "    importlib.import_module(name)\n"
        f"    loaded = sorted(set({HEAVY!r}) & set(sys.modules))\n"
        "    assert not loaded, f'{name} loads {loaded}'\n"
    )
    run = run_python(program)
    assert run.returncode == 0, run.stderr


def test_the_judge_process_never_loads_torch() -> None:
    program = "import sys, verify.cli, verify.judge.judge\nassert {'torch', 'triton'}.isdisjoint(sys.modules)"
    run = run_python(program)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_ships_its_types(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()


@pytest.mark.parametrize("package", ["verify", "harness", "tests"])
def test_every_folder_of_modules_is_a_package(package: str) -> None:
    data = {ROOT / "tests" / name for name in ("cheats", "exploits", "honest")}
    folders = {path.parent for path in (ROOT / package).rglob("*.py")} - data
    assert [named(folder) for folder in sorted(folders) if not (folder / "__init__.py").is_file()] == []


def test_no_module_is_called_utils() -> None:
    assert [named(path) for path in OURS if path.stem in {"util", "utils", "helpers", "common", "misc"}] == []


def test_files_stay_short() -> None:
    lengths = {named(path): len(path.read_text(encoding="utf-8").splitlines()) for path in OURS}
    assert {name: length for name, length in lengths.items() if length > MAX_LINES} == {}


def test_functions_stay_short() -> None:
    assert [finding for path in SOURCES for finding in long_functions(path)] == []


@pytest.mark.parametrize("package", ["verify", "harness"])
def test_tests_mirror_the_packages(package: str) -> None:
    tests = ROOT / "tests"
    folders = {path.parent.relative_to(tests) for path in (tests / package).rglob("test_*.py")}
    assert folders
    assert [folder.as_posix() for folder in sorted(folders) if not (ROOT / folder).is_dir()] == []
