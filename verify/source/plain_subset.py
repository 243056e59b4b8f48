"""The subset of Python for wrappers (forward, backward) and definitions (reference, parallel).

An allow-list over the syntax tree: every statement, name, attribute, call and keyword must be known. What a
tree cannot show (which operation `a * b` is) is refused where the kind of a value is certain and left to the
tracer otherwise.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

from verify.source.kinds import Kind, infer, kind_of
from verify.source.outline import Outline, dotted
from verify.source.plain_calls import Calls
from verify.source.subset import bindings
from verify.source.vocabulary import ANNOTATION_DOTTED, ANNOTATION_NAMES, BUILTINS


class PlainSubset(Calls):
    """Checks one plain function in the roles it is reached by: wrapper, oracle, reference."""

    def __init__(
        self,
        outline: Outline,
        function: ast.FunctionDef,
        roles: frozenset[str],
        parameters: Mapping[str, Kind],
    ) -> None:
        super().__init__(outline, function, roles, infer(function, parameters))
        self._values = _bound_values(function)

    def check(self) -> None:
        self.check_bindings(BUILTINS)
        self.check_defaults()
        for mark in self.function.decorator_list:
            self.fail(
                "POL-DECORATOR",
                mark,
                f"expected no decorator or exactly @triton.jit, got @{ast.unparse(mark)[:60]}. Remove it.",
            )
        arguments = self.function.args
        for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
            self.annotation(argument.annotation)
        self.annotation(self.function.returns)
        self.body(self.function.body)

    # --- statements

    def body(self, statements: Sequence[ast.stmt]) -> None:
        for node in statements:
            self.statement(node)

    def statement(self, node: ast.stmt) -> None:
        match node:
            case ast.Expr(value=ast.Constant(value=str())) | ast.Pass() | ast.Break() | ast.Continue():
                pass
            case ast.Expr(value=ast.Call()):
                self.value(node.value)
            case ast.Return():
                self.optional(node.value)
            case ast.Assign():
                self.assigned_value(node)
                for target in node.targets:
                    self.target(target)
                    self.unpacked(target, node.value)
            case ast.AnnAssign(target=ast.Name()):
                self.annotation(node.annotation)
                self.optional(node.value)
            case ast.AugAssign():
                self.augmented(node)
            case ast.If() | ast.While():
                self.test(node.test)
                self.body([*node.body, *node.orelse])
            case ast.For():
                self.iterable(node.iter)
                self.target(node.target)
                self.body([*node.body, *node.orelse])
            case ast.Assert():
                self.test(node.test)
                if node.msg is not None and not _is_text(node.msg):
                    self.value(node.msg)
            case ast.Raise():
                self.raised(node)
            case ast.Expr():
                self.fail(
                    "POL-SYNTAX",
                    node,
                    f"expected a statement with an effect, got {ast.unparse(node)[:60]}. Remove it.",
                )
                self.value(node.value)
            case _:
                self.not_allowed(node, "a plain function")

    def assigned_value(self, node: ast.Assign) -> None:
        single = len(node.targets) == 1 and isinstance(node.targets[0], ast.Name)
        if single and isinstance(node.value, ast.Lambda):
            self.grid(node.value)
        else:
            self.value(node.value)

    def augmented(self, node: ast.AugAssign) -> None:
        """`x += y` changes a tensor in place, and a list is another object's memory: only numbers may."""
        self.value(node.value)
        if not isinstance(node.target, ast.Name):
            self.target(node.target)
            return
        kind = self.kinds.kinds.get(node.target.id)
        if kind != "number":
            self.fail(
                "POL-INPLACE",
                node,
                f"expected {node.target.id!r} to be a number, since an augmented assignment changes tensors "
                "in "
                f"place. Write {node.target.id} = {node.target.id} ... instead.",
            )

    def target(self, node: ast.expr) -> None:
        match node:
            case ast.Name():
                pass
            case ast.Tuple() | ast.List():
                for item in node.elts:
                    self.target(item)
            case ast.Starred():
                self.target(node.value)
            case ast.Subscript(value=ast.Name(id=name)) if self.is_local(name) and self.owns(name):
                self.value(node.slice)
            case ast.Subscript():
                self.fail(
                    "POL-INPLACE",
                    node,
                    "expected to write into a list or tensor made in this function, got "
                    f"{ast.unparse(node)[:60]}. "
                    "Arguments and results stay as they are.",
                )
            case ast.Attribute():
                self.fail(
                    "POL-STATE",
                    node,
                    f"expected a local name, got the attribute {ast.unparse(node)[:60]}. Nothing may "
                    "outlive a call.",
                )
            case _:
                self.not_allowed(node, "an assignment")

    def owns(self, name: str) -> bool:
        """Whether every binding of the name is a list display, or, in a definition, a fresh typed tensor."""
        return bool(self._values.get(name)) and all(
            value is not None and self.fresh(value) for value in self._values[name]
        )

    def fresh(self, node: ast.expr) -> bool:
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            return isinstance(node.left, ast.List) or isinstance(node.right, ast.List)
        if isinstance(node, ast.List | ast.ListComp):
            return True
        if self.wrapper or not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            return False
        like = node.func.attr in ("new_zeros", "new_ones", "new_full", "zeros_like", "ones_like", "full_like")
        typed = any(keyword.arg == "dtype" for keyword in node.keywords)
        # torch.zeros alone is float32, and writing float64 values into it would lower the precision
        return like or (typed and dotted(node.func) in ("torch.zeros", "torch.ones", "torch.full"))

    def unpacked(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Tuple | ast.List) and kind_of(value, self.kinds) == "tensor":
            self.fail(
                "POL-ITERATE",
                value,
                f"expected a tuple to unpack, got the tensor {ast.unparse(value)[:60]}. Use .unbind() or an "
                "index.",
            )

    def raised(self, node: ast.Raise) -> None:
        call = node.exc
        message = call.args[0] if isinstance(call, ast.Call) and len(call.args) == 1 else None
        known = (
            isinstance(call, ast.Call)
            and isinstance(call.func, ast.Name)
            and call.func.id == "ValueError"
            and not call.keywords
        )
        if not known or node.cause is not None or message is None or not _is_text(message):
            self.fail("POL-SYNTAX", node, f'expected raise ValueError("..."), got {ast.unparse(node)[:60]}.')

    def test(self, node: ast.expr) -> None:
        """A condition: the truth of a tensor is its value."""
        self.value(node)
        if kind_of(node, self.kinds) == "tensor":
            self.fail(
                "POL-VALUE-READ",
                node,
                f"expected a condition on shapes or numbers, got the tensor {ast.unparse(node)[:60]}. Branch "
                "in a kernel, or use torch.where in a definition.",
            )

    def annotation(self, node: ast.expr | None) -> None:
        """Annotations are expressions too: only types from a short list."""
        empty = node is None or (isinstance(node, ast.Constant) and (node.value is None or node.value is ...))
        named = isinstance(node, ast.Name) and node.id in ANNOTATION_NAMES
        if empty or named or (isinstance(node, ast.Attribute) and dotted(node) in ANNOTATION_DOTTED):
            return
        match node:
            case ast.Subscript():
                self.annotation(node.value)
                self.annotation(node.slice)
            case ast.Tuple():
                for item in node.elts:
                    self.annotation(item)
            case ast.BinOp(op=ast.BitOr()):
                self.annotation(node.left)
                self.annotation(node.right)
            case ast.expr():
                self.fail(
                    "POL-ANNOTATION",
                    node,
                    "expected types such as torch.Tensor, int or tuple[torch.Tensor, ...], got "
                    f"{ast.unparse(node)[:60]}.",
                )


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _bound_values(function: ast.FunctionDef) -> dict[str, list[ast.expr | None]]:
    """Name -> what each of its bindings assigns; None for arguments and everything but `name = value`."""
    plain: dict[int, ast.expr] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.Assign):
            plain |= {id(target): node.value for target in node.targets}
    values: dict[str, list[ast.expr | None]] = {}
    for node, name in bindings(function):
        values.setdefault(name, []).append(plain.get(id(node)))
    return values
