"""Elementwise functions of one variable as typed trees: simplified, differentiated, measured, stored as
JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

Json: TypeAlias = "str | float | list[Json]"
"""A tree as the store holds it: "x", a number, or [head, operand, ...]."""


@dataclass(frozen=True, kw_only=True)
class Input:
    """The variable `x`, one element of a tile."""


@dataclass(frozen=True, kw_only=True)
class Constant:
    """A number."""

    value: float


@dataclass(frozen=True, kw_only=True)
class Apply:
    """A named function of `harness.agents.grammar.functions` applied to `argument`."""

    function: str
    argument: Tree


@dataclass(frozen=True, kw_only=True)
class Sum:
    """left + right."""

    left: Tree
    right: Tree


@dataclass(frozen=True, kw_only=True)
class Product:
    """left * right."""

    left: Tree
    right: Tree


Tree: TypeAlias = Input | Constant | Apply | Sum | Product

X = Input()
ZERO = Constant(value=0.0)
ONE = Constant(value=1.0)


def constant(value: float) -> Constant:
    """The number as a tree."""
    return Constant(value=float(value))


def apply(function: str, argument: Tree) -> Tree:
    """function(argument)."""
    return Apply(function=function, argument=argument)


def add(left: Tree, right: Tree) -> Tree:
    """left + right, folded and with operands in one order, so equal sums are equal trees."""
    if isinstance(left, Constant) and isinstance(right, Constant):
        return Constant(value=left.value + right.value)
    if left == ZERO:
        return right
    if right == ZERO:
        return left
    if left == right:
        return multiply(constant(2.0), left)
    first, second = sorted((left, right), key=_order)
    if isinstance(second, Constant) and isinstance(first, Sum) and isinstance(first.right, Constant):
        return add(first.left, Constant(value=first.right.value + second.value))
    return Sum(left=first, right=second)


def multiply(left: Tree, right: Tree) -> Tree:
    """left * right, folded and with operands in one order (a constant comes first)."""
    if isinstance(left, Constant) and isinstance(right, Constant):
        return Constant(value=left.value * right.value)
    if ZERO in (left, right):
        return ZERO
    if left == ONE:
        return right
    if right == ONE:
        return left
    if left == right:
        return Apply(function="square", argument=left)
    first, second = sorted((left, right), key=_order)
    if isinstance(second, Constant):
        first, second = second, first
    if isinstance(first, Constant) and isinstance(second, Product) and isinstance(second.left, Constant):
        return multiply(Constant(value=first.value * second.left.value), second.right)
    return Product(left=first, right=second)


def negate(tree: Tree) -> Tree:
    """-tree."""
    return multiply(constant(-1.0), tree)


def simplify(tree: Tree) -> Tree:
    """The same function with constants folded and operands in one order."""
    match tree:
        case Apply(function=function, argument=argument):
            return Apply(function=function, argument=simplify(argument))
        case Sum(left=left, right=right):
            return add(simplify(left), simplify(right))
        case Product(left=left, right=right):
            return multiply(simplify(left), simplify(right))
        case _:
            return tree


def differentiate(tree: Tree, rule: Callable[[str, Tree], Tree]) -> Tree:
    """d tree / dx by the sum, product and chain rules; `rule(name, u)` is the derivative of a named function
    at u.
    """
    match tree:
        case Input():
            return ONE
        case Constant():
            return ZERO
        case Sum(left=left, right=right):
            return add(differentiate(left, rule), differentiate(right, rule))
        case Product(left=left, right=right):
            return add(
                multiply(differentiate(left, rule), right),
                multiply(left, differentiate(right, rule)),
            )
        case Apply(function=function, argument=argument):
            return multiply(rule(function, argument), differentiate(argument, rule))


def subtrees(tree: Tree) -> Iterator[Tree]:
    """Every subtree, the whole one first, left before right."""
    yield tree
    for child in children(tree):
        yield from subtrees(child)


def children(tree: Tree) -> tuple[Tree, ...]:
    """The operands, left before right."""
    match tree:
        case Apply(argument=argument):
            return (argument,)
        case Sum(left=left, right=right) | Product(left=left, right=right):
            return (left, right)
        case _:
            return ()


def replace_at(tree: Tree, index: int, new: Tree) -> Tree:
    """`tree` with the subtree at `index` of `subtrees` replaced by `new`, then simplified."""
    return simplify(_replaced(tree, index, new))


def _replaced(tree: Tree, index: int, new: Tree) -> Tree:
    if index == 0:
        return new
    rest = index - 1
    operands = list(children(tree))
    for place, child in enumerate(operands):
        size = sum(1 for _ in subtrees(child))
        if rest < size:
            operands[place] = _replaced(child, rest, new)
            return _with_children(tree, operands)
        rest -= size
    raise IndexError(f"expected an index among the subtrees of {describe(tree)}, got {index}")


def _with_children(tree: Tree, operands: list[Tree]) -> Tree:
    match tree:
        case Apply(function=function):
            return Apply(function=function, argument=operands[0])
        case Sum():
            return Sum(left=operands[0], right=operands[1])
        case Product():
            return Product(left=operands[0], right=operands[1])
        case _:
            return tree


def depth(tree: Tree) -> int:
    """Named functions, sums and products on the longest path; 0 for the input or a constant."""
    return max((1 + depth(child) for child in children(tree)), default=0)


def uses_input(tree: Tree) -> bool:
    """Whether it depends on `x` at all."""
    return any(isinstance(part, Input) for part in subtrees(tree))


def is_typed(tree: Tree) -> bool:
    """Whether every function in it depends on `x`: torch has no relu of a plain number."""
    parts = (part for part in subtrees(tree) if isinstance(part, Apply))
    return uses_input(tree) and all(uses_input(part.argument) for part in parts)


def functions_of(tree: Tree) -> tuple[str, ...]:
    """The named functions in it, sorted, without repeats."""
    return tuple(sorted({part.function for part in subtrees(tree) if isinstance(part, Apply)}))


def to_json(tree: Tree) -> Json:
    """The tree as the store holds it."""
    match tree:
        case Input():
            return "x"
        case Constant(value=value):
            return value
        case Apply(function=function, argument=argument):
            return [function, to_json(argument)]
        case Sum(left=left, right=right):
            return ["+", to_json(left), to_json(right)]
        case Product(left=left, right=right):
            return ["*", to_json(left), to_json(right)]


def from_json(data: Json) -> Tree:
    """The tree that `to_json` wrote. Raises ValueError for anything else."""
    if data == "x":
        return X
    if isinstance(data, int | float) and not isinstance(data, bool):
        return Constant(value=float(data))
    if isinstance(data, list) and data and isinstance(data[0], str):
        head, operands = data[0], [from_json(part) for part in data[1:]]
        if head in ("+", "*") and len(operands) == 2:
            kind = Sum if head == "+" else Product
            return kind(left=operands[0], right=operands[1])
        if len(operands) == 1 and head.isidentifier():
            return Apply(function=head, argument=operands[0])
    raise ValueError(f'expected "x", a number or [head, operand, ...], got {data!r}')


def describe(tree: Tree, variable: str = "x") -> str:
    """The tree as a reader writes it, e.g. `softplus(x) + 0.5`."""
    match tree:
        case Input():
            return variable
        case Constant(value=value):
            return f"{value:g}"
        case Apply(function="square", argument=argument):
            inner = describe(argument, variable)
            return f"({inner})^2" if isinstance(argument, Sum | Product) else f"{inner}^2"
        case Apply(function="reciprocal", argument=argument):
            return f"1 / ({describe(argument, variable)})"
        case Apply(function=function, argument=argument):
            return f"{function}({describe(argument, variable)})"
        case Sum(left=left, right=Constant(value=value)) if value < 0.0:
            return f"{describe(left, variable)} - {-value:g}"
        case Sum(left=left, right=right):
            return f"{describe(left, variable)} + {describe(right, variable)}"
        case Product(left=left, right=right):
            parts = [
                f"({describe(p, variable)})" if isinstance(p, Sum) else describe(p, variable)
                for p in (left, right)
            ]
            return " * ".join(parts)


def _order(tree: Tree) -> tuple[int, str]:
    rank = {Apply: 0, Product: 1, Sum: 2, Input: 3, Constant: 4}[type(tree)]
    return rank, describe(tree)
