"""What Python means otherwise than Triton does, spelled out in a kernel's syntax tree."""

from __future__ import annotations

import ast
import textwrap


class UnsupportedSyntax(Exception):
    """A construct that Triton's compiler refuses too; `line` is its line in the mechanism's file."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


_RESERVED = "_aira_"
"""How the helpers' names start: a kernel with such a name would mean one thing here, another on a device."""

# A pass through a loop that only some of the programs make keeps the variables of the others.
_BEFORE = "{before} = _aira_locals().copy() if _aira_partial() else None"
_AFTER = "if {before} is not None:\n    {after} = _aira_locals()\n"
# The compiler leaves anything at all in a variable that was there before the loop that it is the variable of.
_OVER = "if {name!r} in _aira_locals():\n    {name} = _aira_over({name})\n"
_KEPT = """    if {name!r} in {before} and {name!r} in {after}:
        {name} = _aira_kept({name}, {before}[{name!r}])
"""


def _assigned(body: list[ast.stmt]) -> list[str]:
    """Names that statements assign to, sorted."""
    nodes = (node for statement in body for node in ast.walk(statement))
    return sorted({n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)})


def _check_name(name: str, line: int) -> None:
    if name.startswith(_RESERVED):
        raise UnsupportedSyntax(f"expected a name that does not start with {_RESERVED}, got {name}", line)


def _statements(source: str, at: ast.stmt) -> list[ast.stmt]:
    """Parsed statements that count as the line of `at`."""
    parsed = ast.parse(source).body
    for statement in parsed:
        for node in ast.walk(statement):
            ast.copy_location(node, at)
    return parsed


class Rewriter(ast.NodeTransformer):
    """Spells out, as calls of helpers, what Triton's compiler means by each construct."""

    def __init__(self) -> None:
        self._loops = 0
        self._inside = 0  # of how many `for` loops

    @staticmethod
    def _call(
        name: str, node: ast.AST, *args: ast.expr, keywords: list[ast.keyword] | None = None
    ) -> ast.Call:
        function = ast.copy_location(ast.Name(id=f"_aira_{name}", ctx=ast.Load()), node)
        return ast.copy_location(ast.Call(func=function, args=list(args), keywords=keywords or []), node)

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        self.generic_visit(node)
        if len(node.targets) != 1:
            raise UnsupportedSyntax("expected one target in an assignment, got several", node.lineno)
        node.value = self._call("value", node.value, node.value)
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        self.generic_visit(node)
        if node.value is None:
            return node
        constant = ast.unparse(node.annotation).rsplit(".", 1)[-1] == "constexpr"
        value = (
            self._call("plain", node.value, node.value)
            if constant
            else self._call("value", node.value, node.value)
        )
        return ast.copy_location(ast.Assign(targets=[node.target], value=value), node)

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        if not isinstance(node.target, ast.Name):
            raise UnsupportedSyntax("expected a name as the target of an augmented assignment", node.lineno)
        old = ast.copy_location(ast.Name(id=node.target.id, ctx=ast.Load()), node)
        total = ast.copy_location(ast.BinOp(left=old, op=node.op, right=node.value), node)
        return self.visit_Assign(ast.copy_location(ast.Assign(targets=[node.target], value=total), node))

    def visit_For(self, node: ast.For) -> ast.AST | list[ast.stmt]:
        assigned = _assigned(node.body)
        self._inside += 1
        self.generic_visit(node)
        self._inside -= 1
        if isinstance(node.iter, ast.Call):
            call = node.iter
            node.iter = self._call("loop", call, call.func, *call.args, keywords=call.keywords)
            self._loops += 1
            before, after = f"_aira_before_{self._loops}", f"_aira_after_{self._loops}"
            node.body = [*_statements(_BEFORE.format(before=before), node), *node.body]
            if assigned:
                kept = "".join(_KEPT.format(name=name, before=before, after=after) for name in assigned)
                node.body += _statements(_AFTER.format(before=before, after=after) + kept, node)
            if isinstance(node.target, ast.Name):
                return [node, *_statements(_OVER.format(name=node.target.id), node)]
        return node

    def _leaving(self, node: ast.stmt) -> list[ast.stmt]:
        self.generic_visit(node)
        called = self._call("left", node)
        return [ast.copy_location(ast.Expr(value=called), node), node] if self._inside else [node]

    visit_Break = visit_Continue = visit_Return = _leaving

    def visit_Name(self, node: ast.Name) -> ast.AST:
        _check_name(node.id, node.lineno)
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        _check_name(node.arg, node.lineno)
        return node

    def visit_Try(self, node: ast.Try) -> ast.AST:
        raise UnsupportedSyntax("expected no try, which does not compile, in a kernel", node.lineno)

    def visit_While(self, node: ast.While) -> ast.AST:
        self.generic_visit(node)
        node.test = self._call("step", node.test, node.test)
        return node

    def visit_If(self, node: ast.If) -> ast.AST:
        self.generic_visit(node)
        node.test = self._call("truth", node.test, node.test)
        return node

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        self.generic_visit(node)
        node.test = self._call("truth", node.test, node.test)
        return node

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        self.generic_visit(node)
        message = node.msg or ast.copy_location(ast.Constant(value=""), node)
        return ast.copy_location(ast.Expr(value=self._call("check", node, node.test, message)), node)

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        self.generic_visit(node)
        nothing = ast.arguments(posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[])
        parts = [ast.copy_location(ast.Lambda(args=nothing, body=value), value) for value in node.values]
        return self._call("and" if isinstance(node.op, ast.And) else "or", node, *parts)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        self.generic_visit(node)
        return self._call("not", node, node.operand) if isinstance(node.op, ast.Not) else node

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        if len(node.ops) > 1:
            raise UnsupportedSyntax("expected one comparison, got a chain. Join two with &.", node.lineno)
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        self.generic_visit(node)
        if node.attr == "value" and isinstance(node.ctx, ast.Load):
            return self._call("plain", node, node.value)
        return node


def rewritten(source: str, first_line: int) -> tuple[ast.Module, str]:
    """The executable twin of a jit function's source as a module of one function, and the function's name.

    Line numbers are those of the file, `first_line` being the number of the source's first line. Raises
    UnsupportedSyntax for what Triton's compiler would refuse too.
    """
    tree = ast.parse(textwrap.dedent(source))
    ast.increment_lineno(tree, first_line - 1)
    definition = tree.body[0]
    if not isinstance(definition, ast.FunctionDef):
        raise UnsupportedSyntax(f"expected a function, got {type(definition).__name__}", first_line)
    _check_name(definition.name, first_line)
    definition.decorator_list = []
    definition.returns = None
    for argument in (*definition.args.posonlyargs, *definition.args.args, *definition.args.kwonlyargs):
        argument.annotation = None
    Rewriter().visit(tree)
    return ast.fix_missing_locations(tree), definition.name
