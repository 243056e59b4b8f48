"""Point edits: one spot of one slot function changed through libcst, blind to what the other forms say.

An edit swaps a function, an operator or a comparison, drops an operand or a sign, changes a constant, takes
another variable, or copies the body that the same function has in another mechanism. Whether the result is
still true is for the judge to find.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import libcst as cst
from libcst.helpers import get_full_name_for_node

from harness.agents.grammar.genome import Edit
from harness.chance import pick

_SWAPS: tuple[tuple[str, ...], ...] = (
    ("tl.exp", "tl.log", "tl.sqrt", "tl.rsqrt", "tl.abs", "tl.sigmoid", "tl.erf"),
    ("tl.maximum", "tl.minimum"),
    ("tl.sum", "tl.max"),
    (
        "torch.exp",
        "torch.tanh",
        "torch.sigmoid",
        "torch.relu",
        "torch.square",
        "torch.abs",
        "torch.sqrt",
        "torch.rsqrt",
    ),
    (
        "torch.nn.functional.softplus",
        "torch.nn.functional.silu",
        "torch.nn.functional.gelu",
        "torch.nn.functional.elu",
    ),
    ("torch.sum", "torch.amax"),
)

_OPERATORS: tuple[tuple[type[cst.BaseBinaryOp], type[cst.BaseBinaryOp], str], ...] = (
    (cst.Add, cst.Subtract, "+ became -"),
    (cst.Subtract, cst.Add, "- became +"),
    (cst.Multiply, cst.Divide, "* became /"),
    (cst.Divide, cst.Multiply, "/ became *"),
)

_COMPARISONS: tuple[tuple[type[cst.BaseCompOp], type[cst.BaseCompOp], str], ...] = (
    (cst.GreaterThan, cst.LessThan, "> became <"),
    (cst.GreaterThan, cst.GreaterThanEqual, "> became >="),
    (cst.LessThan, cst.GreaterThan, "< became >"),
    (cst.LessThan, cst.LessThanEqual, "< became <="),
    (cst.Equal, cst.NotEqual, "== became !="),
)

_VARIABLES: tuple[tuple[str, ...], ...] = (("x", "dy"), ("score", "distance"), ("head", "heads"))

Change = tuple[cst.CSTNode, cst.CSTNode, str]
"""The node to replace, what to put there, and the description."""


def edits_of(function: str, body: str, others: Sequence[tuple[str, str]] = ()) -> tuple[Edit, ...]:
    """Every edit of one body, in reading order, then the copies.

    `others` are (name, body) of the same function in other mechanisms. Edits that change nothing, or make
    the same text twice, are left out.
    """
    found: dict[str, Edit] = {body.strip(): Edit(function=function, description="unchanged", body=body)}
    module = cst.parse_module(body)
    for old, new, description in _changes(module):
        changed = module.deep_replace(old, new)
        assert isinstance(changed, cst.Module)
        text = changed.code.strip()
        found.setdefault(text, Edit(function=function, description=description, body=text))
    for name, other in others:
        text = other.strip()
        found.setdefault(text, Edit(function=function, description=f"body copied from {name}", body=text))
    return tuple(found.values())[1:]


def choose_edit(
    rng: random.Random, bodies: Sequence[tuple[str, str]], others: dict[str, list[tuple[str, str]]]
) -> Edit | None:
    """One edit of one of the `bodies` (function name, text), or None where there is nothing to edit.

    The function is drawn first, so that a long body is not edited more often than a short one.
    """
    options = [edits for name, body in bodies if (edits := edits_of(name, body, others.get(name, [])))]
    if not options:
        return None
    edits = pick(rng, options)
    in_place = [edit for edit in edits if not edit.description.startswith("body copied")]
    copies = edits[len(in_place) :]
    pool = in_place if in_place and (not copies or rng.randrange(4)) else copies
    return pick(rng, pool)


def _changes(module: cst.Module) -> Iterator[Change]:
    collector = _Collector()
    module.visit(collector)
    yield from collector.found


class _Collector(cst.CSTVisitor):
    """Collects every change in reading order."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Change] = []

    def visit_Call(self, node: cst.Call) -> None:
        name = get_full_name_for_node(node.func)
        for group in _SWAPS:
            if name in group:
                for other in group:
                    if other != name:
                        func = cst.parse_expression(other)
                        self.found.append((node.func, func, f"{_last(name)} became {_last(other)}"))

    def visit_BinaryOperation(self, node: cst.BinaryOperation) -> None:
        for old, new, description in _OPERATORS:
            if isinstance(node.operator, old):
                self.found.append((node.operator, new(), description))
        if isinstance(node.operator, cst.Power):
            return
        for side, kept, dropped in (("left", node.left, node.right), ("right", node.right, node.left)):
            whole = kept if kept.lpar else kept.with_changes(lpar=node.lpar, rpar=node.rpar)
            self.found.append((node, whole, f"kept only the {side} side, without {_code(dropped)}"))

    def visit_UnaryOperation(self, node: cst.UnaryOperation) -> None:
        if isinstance(node.operator, cst.Minus):
            self.found.append((node, node.expression, f"lost the sign of {_code(node.expression)}"))

    def visit_Float(self, node: cst.Float) -> None:
        value = float(node.value)
        for other in (2.0 * value, 0.5 * value, value + 1.0):
            self.found.append((node, cst.Float(value=repr(other)), f"{node.value} became {other!r}"))

    def visit_ComparisonTarget(self, node: cst.ComparisonTarget) -> None:
        for old, new, description in _COMPARISONS:
            if isinstance(node.operator, old):
                self.found.append((node.operator, new(), description))

    def visit_Return(self, node: cst.Return) -> None:
        if node.value is not None:
            self._variables(node.value)

    def _variables(self, node: cst.BaseExpression) -> None:
        for name in _names_in(node):
            for group in _VARIABLES:
                for other in group if name.value in group else ():
                    if other != name.value:
                        self.found.append((name, cst.Name(other), f"{name.value} became {other}"))


class _Names(cst.CSTVisitor):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[cst.Name] = []

    def visit_Name(self, node: cst.Name) -> None:
        self.found.append(node)


def _names_in(node: cst.CSTNode) -> list[cst.Name]:
    names = _Names()
    node.visit(names)
    return names.found


def _last(name: str | None) -> str:
    return (name or "").rsplit(".", 1)[-1]


def _code(node: cst.CSTNode) -> str:
    text = " ".join(cst.Module(body=[]).code_for_node(node).split())
    return text if len(text) <= 40 else f"{text[:37]}..."
