"""What Triton does not document is where this layer looks for it, and nobody else looks."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import triton

from verify.triton_cpu import private
from verify.triton_cpu.interpreter.builder import _ATOMICS, Builder
from verify.triton_cpu.interpreter.handles import FORMATS
from verify.triton_cpu.interpreter.launch import load_kernels

ROOT = Path(__file__).resolve().parents[3]
LANGUAGE = Path(triton.__file__).parent / "language"
PUBLIC = ("triton", "triton.errors", "triton.language", "triton.language.extra")
PRIVATE_READERS = {
    "verify/triton_cpu/private.py",
    "verify/triton_cpu/bench/stock.py",  # runs Triton's own interpreter, in a process without this layer
}
ONLY_WHILE_COMPILING = {
    *("create_block_with_parent", "create_map_elementwise_ret", "create_name_loc", "create_reduce_ret"),
    *("create_scan_ret", "create_tensor_descriptor_type", "get_insertion_point", "get_loc", "get_void_ty"),
    *("new_block", "restore_insertion_point", "set_insertion_point_to_start", "set_loc"),
}
"""Methods of the compiler's builder that no operation of a running kernel reaches."""


@pytest.mark.parametrize("name", private.__all__)
def test_every_private_name_is_there(name: str) -> None:
    assert getattr(private, name) is not None


def test_what_is_found_by_looking_is_found() -> None:
    owners = private.patch_owners()
    found = {name for owner in owners for name, _ in private.builtins_of(owner)}
    assert {"load", "store", "dot", "arange", "exp", "to", "atomic_add", "permute"} <= found
    assert {"sum", "cumsum", "max", "sort"} <= {one.__name__ for one in private.library()}
    assert {"sum", "max", "argmax"} <= set(private.jit_methods())
    modules = private.libdevice_modules()
    assert modules is not None
    assert all(hasattr(module, "tanh") for module in modules)
    assert {"create_load", "create_dot", "create_dot_scaled"} <= set(private.compiler_operations())


def members(enumeration: Any) -> dict[str, Any]:
    return dict(enumeration.__members__)


def test_enumerations_of_the_compiler_are_read_by_name() -> None:
    ir = private.ir
    precisions = {private.precision_name(one) for one in members(ir.INPUT_PRECISION).values()}
    assert set(private.DOT_PRECISIONS) == precisions
    assert {private.atomic_name(one) for one in members(ir.ATOMIC_OP).values()} == set(_ATOMICS)
    nan = {name: private.propagates_nan(one) for name, one in members(ir.PROPAGATE_NAN).items()}
    assert nan == {"NONE": False, "ALL": True}
    padding = {name: private.padding_is_nan(one) for name, one in members(ir.PADDING_OPTION).items()}
    assert padding == {"PAD_ZERO": False, "PAD_NAN": True}
    rounding = {name: private.rounds_to_zero(one) for name, one in members(ir.ROUNDING_MODE).items()}
    assert {name for name, zero in rounding.items() if zero} == {"RTZ"}
    assert len(rounding) >= 2


def test_every_number_format_of_the_language_has_a_form() -> None:
    floats = private.tl.dtype.FP_TYPES
    assert set(private.tl.dtype.SINT_TYPES) | set(private.tl.dtype.UINT_TYPES) | set(floats) <= set(FORMATS)


def test_parameters_are_told_apart() -> None:
    source = """
@triton.jit(do_not_specialize=["n"])
def kernel(x, n, scale=2.0, N: tl.constexpr = 4):
    tl.store(x, n * scale)
"""
    kernel = load_kernels(source, "<parameters>")["kernel"]
    assert private.constexpr_parameters(kernel) == {"N"}
    assert private.fixed_parameters(kernel) == {"n"}
    assert private.defaults(kernel) == {"scale": 2.0, "N": 4}
    text, line = private.source_of(kernel)
    assert (text.splitlines()[1], line) == ("def kernel(x, n, scale=2.0, N: tl.constexpr = 4):", 2)


def builder_calls() -> Iterator[tuple[str, str, ast.Call]]:
    """(where, method, call) of every call of a builder's method in Triton's language."""
    for file in sorted(LANGUAGE.glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            if ast.unparse(node.func.value).endswith("builder"):
                yield f"{file.name}:{node.lineno}", node.func.attr, node


def test_every_operation_that_the_language_asks_for_runs_or_refuses() -> None:
    calls = list(builder_calls())
    assert len(calls) > 100
    builder = Builder()
    missing, unfit = set(), []
    for where, name, call in calls:
        method = getattr(builder, name, None)
        if method is None:
            missing.add(name)
        elif not any(isinstance(argument, ast.Starred) for argument in call.args):
            try:
                keywords = {word.arg: word for word in call.keywords if word.arg}
                inspect.signature(method).bind(*call.args, **keywords)
            except TypeError as error:
                unfit.append(f"{where} {name}: {error}")
    assert unfit == []
    assert missing <= ONLY_WHILE_COMPILING


def looked_up(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module]
        yield from (name for name in names if name.split(".")[0] == "triton" and name not in PUBLIC)


def test_only_one_module_looks_inside_triton() -> None:
    files = sorted((ROOT / "verify").rglob("*.py"))
    readers = {file.relative_to(ROOT).as_posix() for file in files if set(looked_up(file))}
    assert readers == PRIVATE_READERS
