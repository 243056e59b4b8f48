"""Prints trees as function bodies: torch for `reference`, Triton for the kernels.

Everything is built as syntax trees and unparsed once, so operator precedence is never a matter of string
pasting. Subexpressions that a body needs more than once become local variables.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import cache
from typing import Literal

from harness.agents.grammar.functions import FUNCTIONS, Function
from harness.agents.grammar.trees import (
    Apply,
    Constant,
    Input,
    Product,
    Sum,
    Tree,
    subtrees,
    uses_input,
)

Dialect = Literal["torch", "triton"]

_LOCALS = "abcdefghijklmnopqrtuvw"
"""Names for local variables; `s` is the row statistic, `x` and `dy` are arguments."""


class Printer:
    """Collects the local variables of one body. One printer makes one body.

    `variable` is the name that `x` of a tree stands for; `taken` are names that locals must not use.
    """

    def __init__(self, dialect: Dialect, *, taken: tuple[str, ...] = ("x", "dy", "s")) -> None:
        self._dialect = dialect
        self._names = _fresh_names(taken)
        self._known: dict[tuple[Tree, str], ast.expr] = {}
        self._lines: list[str] = []

    @property
    def lines(self) -> tuple[str, ...]:
        """The assignments so far, in order."""
        return tuple(self._lines)

    def bind(self, name: str, text: str) -> None:
        """Append the assignment `name = text`."""
        self._lines.append(f"{name} = {text}")

    def fresh(self) -> str:
        """A name that nothing in this body uses."""
        return next(self._names)

    def expression(self, tree: Tree, *, variable: str = "x", shared: tuple[Tree, ...] = ()) -> str:
        """The text of `tree`; whatever it or `shared` repeats is assigned to a local before."""
        counts = Counter(part for whole in (tree, *shared) for part in subtrees(whole) if _is_costly(part))
        return ast.unparse(self._print(tree, variable, counts))

    def _print(self, tree: Tree, variable: str, counts: Counter[Tree]) -> ast.expr:
        known = self._known.get((tree, variable))
        if known is not None:
            return known
        text = self._print_new(tree, variable, counts)
        if counts[tree] > 1:
            return self._assign(tree, variable, text)
        return text

    def _assign(self, tree: Tree, variable: str, value: ast.expr) -> ast.expr:
        name = self.fresh()
        self.bind(name, ast.unparse(value))
        bound = ast.Name(id=name)
        self._known[tree, variable] = bound
        return bound

    def _print_new(self, tree: Tree, variable: str, counts: Counter[Tree]) -> ast.expr:
        match tree:
            case Input():
                return ast.Name(id=variable)
            case Constant(value=value):
                return _number(value)
            case Sum(left=left, right=right):
                first, second = (self._print(part, variable, counts) for part in (left, right))
                return _sum(first, second)
            case Product(left=left, right=right):
                first, second = (self._print(part, variable, counts) for part in (left, right))
                if isinstance(left, Constant) and left.value == -1.0:
                    return ast.UnaryOp(op=ast.USub(), operand=second)
                return ast.BinOp(left=first, op=ast.Mult(), right=second)
            case Apply(function=function, argument=argument):
                return self._call(FUNCTIONS[function], argument, variable, counts)

    def _call(self, function: Function, argument: Tree, variable: str, counts: Counter[Tree]) -> ast.expr:
        text, steps = (function.torch, ()) if self._dialect == "torch" else (function.triton, function.steps)
        operand = self._print(argument, variable, counts)
        uses = sum(_uses(_form(form)) for form in (text, *(form for _, form in steps)))
        if uses > 1 and not isinstance(operand, ast.Name):
            operand = self._assign(argument, variable, operand)
        names: dict[str, ast.expr] = {"u": operand}
        for name, form in steps:
            value = ast.unparse(_substitute(_form(form), names))
            names[name] = ast.Name(id=self.fresh())
            self.bind(ast.unparse(names[name]), value)
        return _substitute(_form(text), names)


def torch_body(tree: Tree, argument: str = "x") -> str:
    """The body of `_phi_torch(x)`: elementwise on a tensor of any shape and float dtype."""
    return _body(tree, "torch", argument)


def triton_body(tree: Tree, argument: str = "x") -> str:
    """The body of `_phi(x)` or `_phi_grad(x)`: elementwise on a float32 tile.

    A constant becomes a tile of the argument's shape, so the value never decays to a scalar.
    """
    if not uses_input(tree):
        assert isinstance(tree, Constant), "a simplified tree without the input is a constant"
        return f"return tl.full({argument}.shape, {ast.unparse(_number(tree.value))}, tl.float32)"
    return _body(tree, "triton", argument)


def _body(tree: Tree, dialect: Dialect, argument: str) -> str:
    printer = Printer(dialect, taken=(argument,))
    result = printer.expression(tree, variable=argument)
    return "\n".join((*printer.lines, f"return {result}"))


def _is_costly(tree: Tree) -> bool:
    return isinstance(tree, Apply | Sum | Product) and uses_input(tree) and not _is_cheap_product(tree)


def _is_cheap_product(tree: Tree) -> bool:
    """A constant times the input: naming it would only make the body longer."""
    return isinstance(tree, Product) and isinstance(tree.left, Constant) and isinstance(tree.right, Input)


def _fresh_names(taken: tuple[str, ...]) -> Iterator[str]:
    for name in _LOCALS:
        if name not in taken:
            yield name
    number = 1
    while True:
        yield f"a{number}"
        number += 1


def _number(value: float) -> ast.expr:
    if value < 0.0:
        return ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=-value))
    return ast.Constant(value=value)


def _sum(first: ast.expr, second: ast.expr) -> ast.expr:
    """first + second, written as a difference where the second is negated."""
    if isinstance(second, ast.UnaryOp) and isinstance(second.op, ast.USub):
        return ast.BinOp(left=first, op=ast.Sub(), right=second.operand)
    if isinstance(first, ast.UnaryOp) and isinstance(first.op, ast.USub):
        return ast.BinOp(left=second, op=ast.Sub(), right=first.operand)
    return ast.BinOp(left=first, op=ast.Add(), right=second)


@cache
def _form(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


def _uses(form: ast.expr) -> int:
    return sum(isinstance(node, ast.Name) and node.id == "u" for node in ast.walk(form))


class _Substitution(ast.NodeTransformer):
    def __init__(self, names: Mapping[str, ast.expr]) -> None:
        self._names = names

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self._names.get(node.id, node)


def _substitute(form: ast.expr, names: Mapping[str, ast.expr]) -> ast.expr:
    replaced = _Substitution(names).visit(deepcopy(form))
    assert isinstance(replaced, ast.expr)
    return replaced
