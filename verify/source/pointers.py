"""Which names of a kernel may hold a pointer, so that no number can be turned into one by way of
`x.to(pointer.dtype)`.

Every argument of a launched kernel that is not a constexpr may be a pointer; sums, subscripts, selections and
helper calls pass it on, loads and products do not. The analysis covers all kernels of a file together and
errs towards "may be".
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping

from verify.source.outline import Outline, dotted

_PASSING = frozenset(
    f"tl.{name}"
    for name in (
        "where broadcast_to broadcast expand_dims reshape view trans permute ravel join split cat advance "
        "add sub multiple_of "
        "max_contiguous max_constancy flip unsqueeze squeeze interleave gather make_block_ptr reduce "
        "associative_scan"
    ).split()
)
_PASSING_METHODS = frozenset(
    "reshape view trans permute broadcast_to expand_dims ravel split flip advance gather".split()
)
_COMBINING = ("tl.reduce", "tl.associative_scan")
_ROUNDS = 20
"""Rounds until a fixed point; real code needs three. After them every name counts as a pointer."""


class PointerAnalysis:
    """Names that may be pointers, and kernels that may return one; both only grow."""

    def __init__(self, outline: Outline) -> None:
        self._functions = {name: outline.functions[name] for name in outline.kernels}
        self._names: dict[str, set[str]] = {name: set() for name in outline.kernels}
        self._returning: set[str] = set()
        self._changed = True
        for name in _launched(outline):
            arguments = _arguments(self._functions[name])
            self._names[name] |= {argument.arg for argument in arguments if not _constexpr(argument)}
        for _ in range(_ROUNDS):
            self._changed = False
            for name in self._functions:
                self._visit(name)
            if not self._changed:
                return
        self._returning = set(self._functions)
        for name, function in self._functions.items():
            self._names[name] = {n.id for n in ast.walk(function) if isinstance(n, ast.Name)}

    def may_be(self, node: ast.expr, kernel: str) -> bool:
        """Whether an expression of this kernel may be a pointer."""
        return self._may_be(node, self._names[kernel])

    def _visit(self, name: str) -> None:
        known = self._names[name]
        for node in ast.walk(self._functions[name]):
            match node:
                case ast.Assign(targets=targets, value=value):
                    for target in targets:
                        self._assign(known, target, value)
                case (
                    ast.AnnAssign(target=target, value=ast.expr() as value)
                    | ast.AugAssign(target=target, value=value)
                ):
                    self._assign(known, target, value)
                case ast.Return(value=ast.expr() as value) if name not in self._returning and self._may_be(
                    value, known
                ):
                    self._returning.add(name)
                    self._changed = True
                case ast.Call(func=ast.Name(id=callee)) if callee in self._names:
                    self._pass_on(node, callee, known)
                case ast.Call(func=ast.Attribute() as function) if dotted(function) in _COMBINING:
                    self._combine(node, known)

    def _assign(self, known: set[str], target: ast.expr, value: ast.expr) -> None:
        if (
            isinstance(target, ast.Tuple)
            and isinstance(value, ast.Tuple)
            and len(target.elts) == len(value.elts)
        ):
            for item, part in zip(target.elts, value.elts, strict=True):
                self._assign(known, item, part)
        elif self._may_be(value, known):
            self._add(known, (n.id for n in ast.walk(target) if isinstance(n, ast.Name)))

    def _pass_on(self, node: ast.Call, callee: str, known: set[str]) -> None:
        arguments = _arguments(self._functions[callee])
        by_name: Mapping[str, ast.arg] = {argument.arg: argument for argument in arguments}
        given = [
            *zip(arguments, node.args, strict=False),
            *((by_name.get(k.arg or ""), k.value) for k in node.keywords),
        ]
        self._add(
            self._names[callee],
            (
                argument.arg
                for argument, value in given
                if argument is not None and self._may_be(value, known)
            ),
        )

    def _combine(self, node: ast.Call, known: set[str]) -> None:
        """What a reduction combines are elements of its first argument."""
        values = [*node.args, *(keyword.value for keyword in node.keywords)]
        if any(self._may_be(value, known) for value in values):
            for function in values:
                if isinstance(function, ast.Name) and function.id in self._names:
                    self._add(
                        self._names[function.id], (a.arg for a in _arguments(self._functions[function.id]))
                    )

    def _add(self, known: set[str], names: Iterable[str]) -> None:
        fresh = set(names) - known
        known |= fresh
        self._changed = self._changed or bool(fresh)

    def _may_be(self, node: ast.expr, known: set[str]) -> bool:
        match node:
            case ast.Name(id=name):
                return name in known
            case ast.BinOp(left=left, op=ast.Add() | ast.Sub(), right=right):
                return self._may_be(left, known) or self._may_be(right, known)
            case ast.Subscript(value=value) | ast.Attribute(value=value, attr="T"):
                return self._may_be(value, known)
            case ast.IfExp(body=body, orelse=other):
                return self._may_be(body, known) or self._may_be(other, known)
            case ast.Tuple(elts=items) | ast.List(elts=items) | ast.BoolOp(values=items):
                return any(self._may_be(item, known) for item in items)
            case ast.UnaryOp(operand=operand):
                return self._may_be(operand, known)
            case ast.Call(func=ast.Name(id="min" | "max"), args=arguments):
                return any(self._may_be(argument, known) for argument in arguments)
            case ast.Call(func=ast.Name(id=callee)):
                return callee in self._returning
            case ast.Call(func=ast.Attribute() as function, args=arguments, keywords=keywords):
                values = [*arguments, *(keyword.value for keyword in keywords)]
                if dotted(function) in _PASSING:
                    return any(self._may_be(value, known) for value in values)
                return function.attr in _PASSING_METHODS and self._may_be(function.value, known)
        return False


def _launched(outline: Outline) -> set[str]:
    """Kernels that a plain function names, and those no kernel calls: their arguments are unknown."""
    plain = {
        n.id for name in outline.plain for n in ast.walk(outline.functions[name]) if isinstance(n, ast.Name)
    }
    called = {
        n.id for name in outline.kernels for n in ast.walk(outline.functions[name]) if isinstance(n, ast.Name)
    }
    return {name for name in outline.kernels if name in plain or name not in called}


def _arguments(function: ast.FunctionDef) -> list[ast.arg]:
    return [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]


def _constexpr(argument: ast.arg) -> bool:
    return argument.annotation is not None and dotted(argument.annotation) == "tl.constexpr"
