"""The policy: which imports, statements, names and calls a mechanism may use. A walk over the syntax tree,
never a regular expression.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator

from verify.findings import Finding
from verify.source.contract import Spec
from verify.source.kernel_subset import KernelSubset
from verify.source.kinds import Kind
from verify.source.outline import ORACLE_ENTRIES, WRAPPER_ENTRIES, Outline
from verify.source.plain_subset import PlainSubset
from verify.source.pointers import PointerAnalysis
from verify.source.vocabulary import MODULES

_ENTRIES = (*ORACLE_ENTRIES, *WRAPPER_ENTRIES)


def check_policy(outline: Outline, spec: Spec | None) -> list[Finding]:
    """Every departure from the subset. `spec` tells which arguments are tensors; None if unreadable."""
    findings = [*_module_findings(outline), *_kernel_cycles(outline)]
    pointers = PointerAnalysis(outline)
    for name, function in outline.functions.items():
        subset: KernelSubset | PlainSubset
        if name in outline.kernels:
            subset = KernelSubset(outline, function, pointers)
        else:
            subset = PlainSubset(outline, function, _roles(outline, name), _argument_kinds(name, spec))
        subset.check()
        findings.extend(subset.findings)
    free = spec is not None and spec.skeleton is None
    return [*findings, *(_unreached(outline) if free else ())]


def _roles(outline: Outline, name: str) -> frozenset[str]:
    roles = {"wrapper": outline.wrapper, "oracle": outline.oracle, "reference": outline.reference}
    if name in _ENTRIES:  # an entry keeps its own role, also where the other side calls it against the rules
        roles = {
            "wrapper": frozenset(WRAPPER_ENTRIES),
            "oracle": frozenset(ORACLE_ENTRIES),
            "reference": outline.reference,
        }
    return frozenset(role for role, names in roles.items() if name in names)


def _argument_kinds(name: str, spec: Spec | None) -> dict[str, Kind]:
    """What the contract says about the arguments of the four entry functions."""
    if name not in _ENTRIES or spec is None:
        return {}
    kinds: dict[str, Kind] = dict.fromkeys(spec.constants, "number")
    kinds |= {
        "tuning": "numbers",
        "needs": "numbers",
        "residuals": "sequence",
        "state": "tensors",
        "d_state": "tensors",
        "d_output": "tensor",
    }
    return kinds | dict.fromkeys((tensor.name for tensor in spec.arguments), "tensor")


def _module_findings(outline: Outline) -> Iterator[Finding]:
    seen: set[str] = set()
    for index, node in enumerate(outline.tree.body):
        if (
            isinstance(node, ast.Expr)
            and index == 0
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from _import_findings(node)
            continue
        name = _defined(node)
        if name is None:
            yield _at(
                node,
                "POL-MODULE",
                f"expected a docstring, imports, SPEC, TUNING and functions, got {ast.unparse(node)[:60]!r}. "
                "Nothing may run at import and no state may be kept.",
            )
        elif name in seen or name in MODULES or "__" in name or hasattr(builtins, name):
            yield _at(
                node,
                "POL-SHADOW",
                f"expected a name of its own, got {name!r}, which already means something. Rename it.",
            )
        seen.add(name or "")


def _defined(node: ast.stmt) -> str | None:
    """The one name that an allowed module-level statement defines."""
    if isinstance(node, ast.FunctionDef):
        return node.name
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id if node.targets[0].id in ("SPEC", "TUNING") else None
    return None


def _import_findings(node: ast.Import | ast.ImportFrom) -> Iterator[Finding]:
    for alias in node.names:
        named = alias.asname or alias.name
        allowed = (
            isinstance(node, ast.Import)
            and MODULES.get(named) == alias.name
            and (alias.asname is None or named == "tl")
        )
        if not allowed:
            yield _at(
                node,
                "POL-IMPORT",
                "expected one of: import math; import torch; import triton; import triton.language as tl. "
                f"Got {ast.unparse(node)[:80]!r}.",
            )
            return


def _kernel_cycles(outline: Outline) -> Iterator[Finding]:
    """Kernels are inlined into their callers, so none may reach itself."""
    calls = {
        name: {
            n.id
            for n in ast.walk(outline.functions[name])
            if isinstance(n, ast.Name) and n.id in outline.kernels
        }
        for name in outline.kernels
    }
    for name in outline.kernels:
        todo, seen = list(calls[name]), set()
        while todo:
            callee = todo.pop()
            if callee not in seen:
                seen.add(callee)
                todo.extend(calls[callee])
        if name in seen:
            yield _at(
                outline.functions[name],
                "POL-KERNEL-CALL",
                f"expected kernels without recursion, got {name}, which reaches itself.",
            )


def _unreached(outline: Outline) -> Iterator[Finding]:
    for name in outline.plain:
        if name not in outline.wrapper | outline.oracle and name not in _ENTRIES:
            yield _at(
                outline.functions[name],
                "POL-UNREACHED",
                f"expected only functions that forward, backward, reference or parallel use, got "
                f"{name}. Remove it.",
            )


def _at(node: ast.AST, rule: str, message: str) -> Finding:
    return Finding(
        rule=rule, message=message, line=getattr(node, "lineno", 1), column=getattr(node, "col_offset", 0) + 1
    )
