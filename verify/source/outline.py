"""The parts of a mechanism's file: its functions, who reaches whom, and which part each belongs to."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

WRAPPER_ENTRIES = ("forward", "backward")
ORACLE_ENTRIES = ("reference", "parallel")


@dataclass(frozen=True)
class Outline:
    """A module's tree with its top-level functions by name (the last one where a name repeats)."""

    tree: ast.Module

    @cached_property
    def functions(self) -> dict[str, ast.FunctionDef]:
        return {node.name: node for node in self.tree.body if isinstance(node, ast.FunctionDef)}

    @cached_property
    def kernels(self) -> tuple[str, ...]:
        """Names of the functions marked with `@triton.jit`, in file order."""
        return tuple(name for name, node in self.functions.items() if is_kernel(node))

    @cached_property
    def plain(self) -> tuple[str, ...]:
        return tuple(name for name in self.functions if name not in self.kernels)

    @cached_property
    def docstring(self) -> str:
        return ast.get_docstring(self.tree) or ""

    @cached_property
    def _uses(self) -> dict[str, frozenset[str]]:
        """Function -> the functions of the file that it names anywhere."""
        return {
            name: frozenset(
                n.id for n in ast.walk(node) if isinstance(n, ast.Name) and n.id in self.functions
            )
            for name, node in self.functions.items()
        }

    def reached(self, entries: Iterable[str]) -> frozenset[str]:
        """The plain functions that `entries` can run, themselves included."""
        todo = [name for name in entries if name in self.plain]
        seen = set(todo)
        while todo:
            fresh = {name for name in self._uses[todo.pop()] if name in self.plain} - seen
            seen |= fresh
            todo.extend(fresh)
        return frozenset(seen)

    @cached_property
    def wrapper(self) -> frozenset[str]:
        """Plain functions that run while tracing: forward, backward and their helpers."""
        return self.reached(WRAPPER_ENTRIES)

    @cached_property
    def oracle(self) -> frozenset[str]:
        """Plain functions that define the mechanism: reference, parallel and their helpers."""
        return self.reached(ORACLE_ENTRIES)

    @cached_property
    def reference(self) -> frozenset[str]:
        return self.reached(("reference",))

    def assignment(self, name: str) -> ast.expr | None:
        """The value of the module's `name = ...`, the last one where it repeats."""
        found = None
        for node in self.tree.body:
            if isinstance(node, ast.Assign) and any(
                isinstance(t, ast.Name) and t.id == name for t in node.targets
            ):
                found = node.value
        return found


def is_kernel(node: ast.FunctionDef) -> bool:
    """Whether a decorator is `triton.jit`, or a call of it, so that the body is judged as a kernel's."""
    return any(is_jit(mark.func if isinstance(mark, ast.Call) else mark) for mark in node.decorator_list)


def is_jit(mark: ast.expr) -> bool:
    """Exactly `triton.jit`."""
    return dotted(mark) == "triton.jit"


def dotted(node: ast.expr) -> str | None:
    """`a.b.c` of an attribute chain on a name; None for anything else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None
    return ".".join([node.id, *reversed(parts)])


def span(node: ast.FunctionDef) -> tuple[int, int]:
    """First and last line of a function with its decorators, 1-based and inclusive."""
    first = min([node.lineno, *(mark.lineno for mark in node.decorator_list)])
    return first, node.end_lineno or node.lineno
