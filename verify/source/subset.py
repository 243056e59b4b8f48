"""What the two subsets of Python share: findings with positions, scopes of names, and words that give
themselves away.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable, Iterator

from verify.findings import Finding
from verify.source.literals import nearest
from verify.source.outline import Outline
from verify.source.vocabulary import ATTRIBUTE_HINTS, MODULES, NAME_HINTS

_KINDS_OF_NODE = {
    "Try": "try",
    "TryStar": "try",
    "With": "with",
    "ClassDef": "class",
    "FunctionDef": "a nested function",
    "Delete": "del",
    "AsyncFunctionDef": "async def",
    "Import": "import",
    "ImportFrom": "import",
    "Global": "global",
    "Nonlocal": "nonlocal",
    "Match": "match",
    "NamedExpr": ":=",
    "Lambda": "lambda",
    "Yield": "yield",
    "YieldFrom": "yield",
    "Await": "await",
    "JoinedStr": "an f-string",
    "Dict": "a dict",
    "Set": "a set",
    "DictComp": "a dict comprehension",
    "SetComp": "a set comprehension",
    "AsyncFor": "async for",
    "AsyncWith": "async with",
    "TypeAlias": "type",
    "Assert": "assert",
    "Break": "break",
    "Continue": "continue",
    "ListComp": "a comprehension",
    "GeneratorExp": "a generator",
    "Starred": "* unpacking",
    "Raise": "raise",
}


class Subset:
    """Walks one function and collects findings; subclasses decide what is allowed."""

    def __init__(self, outline: Outline, function: ast.FunctionDef) -> None:
        self.outline = outline
        self.function = function
        self.findings: list[Finding] = []
        self.scopes: list[set[str]] = [set(bound_names(function))]

    def fail(self, rule: str, node: ast.AST, message: str) -> None:
        line, column = getattr(node, "lineno", self.function.lineno), getattr(node, "col_offset", 0)
        self.findings.append(Finding(rule=rule, message=message, line=line, column=column + 1))

    def is_local(self, name: str) -> bool:
        return any(name in scope for scope in self.scopes)

    def not_allowed(self, node: ast.AST, where: str) -> None:
        """A kind of statement or expression outside of the subset."""
        name = type(node).__name__
        word = _KINDS_OF_NODE.get(name, name)
        rule = (
            "POL-STRING"
            if name == "JoinedStr"
            else "POL-STATE"
            if name in ("Global", "Nonlocal")
            else "POL-SYNTAX"
        )
        self.fail(
            rule,
            node,
            f"expected plain statements and expressions, got {word} in {where}. See the subset in the "
            "rule's page.",
        )

    def unknown_name(self, node: ast.Name, known: Iterable[str]) -> None:
        rule, advice = name_hint(node.id) or ("POL-NAME", nearest(node.id, sorted(known)))
        self.fail(
            rule, node, f"expected a local name, got {node.id!r}, which this function does not have. {advice}"
        )

    def check_bindings(self, words: Iterable[str]) -> None:
        """No local may hide a module, a function of the file, or a built-in that has a meaning here."""
        reserved = {*MODULES, *self.outline.functions, *words, "SPEC", "TUNING"}
        for node, name in bindings(self.function):
            if name in reserved:
                self.fail(
                    "POL-SHADOW",
                    node,
                    f"expected a name of its own, got {name!r}, which already means something here. Rename "
                    "it.",
                )
            elif "__" in name:
                self.fail(
                    "POL-INTROSPECT",
                    node,
                    f"expected a name without double underscores, got {name!r}. Rename it.",
                )

    def check_defaults(self) -> None:
        """Defaults are evaluated once and live as long as the function: only plain numbers may."""
        args = self.function.args
        for node in (*args.defaults, *(default for default in args.kw_defaults if default is not None)):
            if not _plain_number(node):
                self.fail(
                    "POL-DEFAULT",
                    node,
                    f"expected a number, True, False or None as default, got {ast.unparse(node)[:60]}. "
                    "Build it inside the function.",
                )
        for argument in (args.vararg, args.kwarg):
            if argument is not None:
                self.fail(
                    "POL-SYNTAX",
                    argument,
                    f"expected named arguments, got * or ** {argument.arg!r}. Name every argument.",
                )
        for parameter in getattr(self.function, "type_params", ()):
            self.fail("POL-SYNTAX", parameter, "expected a plain function, got type parameters. Remove them.")

    def attribute_hint(self, node: ast.Attribute, allowed: Iterable[str], what: str) -> None:
        """Refuse an attribute of a value with the rule that fits it best."""
        name = node.attr
        if "__" in name or name.startswith("_"):
            self.fail(
                "POL-INTROSPECT",
                node,
                f"expected a public attribute, got {name!r}. Private and dunder names are not allowed.",
            )
            return
        rule, advice = ATTRIBUTE_HINTS.get(name, ("POL-ATTRIBUTE", nearest(name, sorted(allowed))))
        if rule == "POL-ATTRIBUTE" and name.endswith("_"):
            rule, advice = "POL-INPLACE", "In-place methods are not allowed; make a new tensor."
        self.fail(rule, node, f"expected an allowed attribute of {what}, got {name!r}. {advice}")


def name_hint(name: str) -> tuple[str, str] | None:
    """The rule and advice for a name that gives itself away; None for an ordinary one."""
    if name in NAME_HINTS:
        return NAME_HINTS[name]
    if "__" in name:
        return "POL-INTROSPECT", "Double underscores are not allowed."
    return ("POL-NAME", "This built-in is not allowed.") if hasattr(builtins, name) else None


def bindings(function: ast.FunctionDef) -> Iterator[tuple[ast.AST, str]]:
    """Every place where the function binds a name, nested scopes included."""
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node, node.id
        elif isinstance(node, ast.arg):
            yield node, node.arg


def bound_names(function: ast.FunctionDef) -> Iterator[str]:
    """The names of the function's own scope, without those of comprehensions and lambdas."""
    args = function.args
    yield from (argument.arg for argument in (*args.posonlyargs, *args.args, *args.kwonlyargs))
    todo: list[ast.AST] = list(function.body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        if not isinstance(
            node, ast.ListComp | ast.GeneratorExp | ast.SetComp | ast.DictComp | ast.Lambda | ast.FunctionDef
        ):
            todo.extend(ast.iter_child_nodes(node))


def _plain_number(node: ast.expr) -> bool:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        node = node.operand
        return isinstance(node, ast.Constant) and type(node.value) in (int, float)
    return isinstance(node, ast.Constant) and (node.value is None or type(node.value) in (int, float, bool))
