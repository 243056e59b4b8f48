"""The subset of Triton that kernels are written in, so that the interpreter can run them as Python without
trusting them.

An allow-list over the syntax tree: statements, `tl` names, methods, attributes and keywords. No inline
assembly, no pointer types, no casts to pointers, no text but constexpr options, no state, no recursion.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence

from verify.source.literals import nearest
from verify.source.outline import Outline, dotted, is_jit
from verify.source.pointers import PointerAnalysis
from verify.source.subset import Subset
from verify.source.vocabulary import (
    DTYPE_ATTRIBUTES,
    KERNEL_ATTRIBUTES,
    KERNEL_BUILTINS,
    KERNEL_KEYWORDS,
    KERNEL_METHODS,
    KERNEL_TEXT_KEYWORDS,
    MATH_CONSTANTS,
    MODULES,
    TL_COMBINING,
    TL_DTYPES,
    TL_FUNCTIONS,
    TL_MATH,
    WRAPPER_TRITON,
)

_LOOPS = ("range", "tl.range", "tl.static_range")
_CASTS = ("to", "cast")


class KernelSubset(Subset):
    """Checks one `@triton.jit` function; `pointers` tells which of its expressions may be a pointer."""

    def __init__(self, outline: Outline, function: ast.FunctionDef, pointers: PointerAnalysis) -> None:
        super().__init__(outline, function)
        self.pointers = pointers

    def check(self) -> None:
        self.check_bindings(KERNEL_BUILTINS)
        self.check_defaults()
        for index, mark in enumerate(self.function.decorator_list):
            if index or not is_jit(mark):
                self.fail(
                    "POL-DECORATOR",
                    mark,
                    f"expected exactly one @triton.jit, got @{ast.unparse(mark)[:60]}. Put options into "
                    "TUNING.",
                )
        arguments = self.function.args
        for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
            if argument.annotation is not None:
                self.constexpr(argument.annotation)
        if self.function.returns is not None:
            self.fail(
                "POL-ANNOTATION",
                self.function.returns,
                f"expected no return annotation, got {ast.unparse(self.function.returns)[:60]}.",
            )
        self.body(self.function.body)

    def constexpr(self, node: ast.expr) -> None:
        if dotted(node) != "tl.constexpr":
            self.fail(
                "POL-ANNOTATION",
                node,
                f"expected tl.constexpr, got {ast.unparse(node)[:60]}. Other arguments carry no annotation.",
            )

    # --- statements

    def body(self, statements: Sequence[ast.stmt]) -> None:
        for node in statements:
            self.statement(node)

    def statement(self, node: ast.stmt) -> None:
        match node:
            case ast.Expr(value=ast.Constant(value=str())) | ast.Pass():
                pass
            case ast.Expr(value=ast.Call() as call):
                self.value(call)
            case ast.Return(value=value):
                if value is not None:
                    self.value(value)
            case ast.Assign(targets=targets, value=value):
                self.value(value)
                for target in targets:
                    self.target(target)
            case ast.AnnAssign(target=ast.Name(), annotation=annotation, value=ast.expr() as value):
                self.constexpr(annotation)
                self.value(value)
            case ast.AugAssign(target=ast.Name() as target, value=value):
                if isinstance(node.op, ast.MatMult):
                    self.fail("POL-SYNTAX", node, "expected tl.dot, got @=.")
                self.value(target)
                self.value(value)
            case ast.If(test=test, body=body, orelse=orelse):
                self.value(test, text=True)
                self.body([*body, *orelse])
            case ast.While(test=test, body=body, orelse=[]):
                self.value(test)
                self.body(body)
            case ast.For(target=ast.Name(), iter=ast.Call() as iterable, body=body, orelse=[]):
                if self.callee(iterable) not in _LOOPS:
                    self.fail(
                        "POL-SYNTAX",
                        iterable,
                        f"expected range, tl.range or tl.static_range, got {ast.unparse(iterable)[:60]}.",
                    )
                self.value(iterable)
                self.body(body)
            case _:
                self.not_allowed(node, "a kernel")

    def target(self, node: ast.expr) -> None:
        if isinstance(node, ast.Tuple):
            for item in node.elts:
                self.target(item)
        elif isinstance(node, ast.Attribute):
            self.fail(
                "POL-STATE",
                node,
                f"expected a local name, got the attribute {ast.unparse(node)[:60]}. Nothing may outlive a "
                "launch.",
            )
        elif not isinstance(node, ast.Name):
            self.fail(
                "POL-SYNTAX",
                node,
                f"expected a local name, got {ast.unparse(node)[:60]}. Use tl.store to write memory.",
            )

    # --- expressions

    def value(self, node: ast.expr, *, text: bool = False) -> None:
        """Check an expression; `text` allows string constants, for comparisons with constexpr options."""
        match node:
            case ast.Constant():
                self.constant(node, text=text)
            case ast.Name():
                self.loaded(node)
            case ast.Attribute():
                self.attribute(node)
            case ast.Call():
                self.call(node)
            case ast.Subscript(value=value, slice=index):
                self.value(value)
                self.value(index)
            case ast.Slice(lower=None, upper=None, step=None):
                pass
            case ast.BinOp(left=left, op=op, right=right) if not isinstance(op, ast.MatMult):
                self.values([left, right])
            case ast.UnaryOp(operand=operand):
                self.value(operand, text=text)
            case ast.BoolOp(values=values):
                for part in values:
                    self.value(part, text=text)
            case ast.Compare(left=left, ops=ops, comparators=comparators) if not any(
                isinstance(op, ast.In | ast.NotIn) for op in ops
            ):
                equal = all(isinstance(op, ast.Eq | ast.NotEq) for op in ops)
                for part in (left, *comparators):
                    self.value(part, text=equal)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                self.value(test, text=True)
                self.values([body, orelse])
            case ast.Tuple(elts=items) | ast.List(elts=items):
                self.values(items)
            case _:
                self.not_allowed(node, "a kernel")

    def values(self, nodes: Sequence[ast.expr]) -> None:
        for node in nodes:
            self.value(node)

    def constant(self, node: ast.Constant, *, text: bool) -> None:
        if isinstance(node.value, str) and text:
            return
        if not (node.value is None or isinstance(node.value, bool | int | float)):
            rule = "POL-STRING" if isinstance(node.value, str | bytes) else "POL-SYNTAX"
            self.fail(
                rule,
                node,
                f"expected numbers in a kernel, got {node.value!r:.60}. Text is for options such as "
                'input_precision="ieee".',
            )

    def loaded(self, node: ast.Name) -> None:
        if self.is_local(node.id):
            return
        if node.id in self.outline.kernels:
            self.fail(
                "POL-KERNEL-USE",
                node,
                f"expected {node.id}(...), got the kernel {node.id} as a value. Call it directly.",
            )
        elif node.id in self.outline.functions:
            self.fail(
                "POL-KERNEL-CALL",
                node,
                f"expected a @triton.jit function, got the plain function {node.id}. Mark it or inline it.",
            )
        elif node.id in MODULES or node.id in KERNEL_BUILTINS:
            self.fail("POL-NAME", node, f"expected a call, got {node.id!r} as a value.")
        elif node.id in ("SPEC", "TUNING"):
            self.fail(
                "POL-NAME",
                node,
                f"expected an argument, got the module's {node.id}. Pass it as tl.constexpr.",
            )
        else:
            self.unknown_name(node, {*KERNEL_BUILTINS, *self.outline.kernels, *self.scopes[0]})

    def is_module(self, path: str | None) -> bool:
        head = path.split(".")[0] if path is not None else ""
        return head in MODULES and not self.is_local(head)

    def attribute(self, node: ast.Attribute) -> None:
        path = dotted(node)
        if path is not None and self.is_module(path):
            module, _, name = path.partition(".")
            if not ((module == "tl" and name in TL_DTYPES) or (module == "math" and name in MATH_CONSTANTS)):
                self.module_refused(node, path)
            return
        inner = node.value
        if node.attr in DTYPE_ATTRIBUTES:
            if not (isinstance(inner, ast.Attribute) and inner.attr == "dtype"):
                self.fail(
                    "POL-ATTRIBUTE", node, f"expected x.dtype.{node.attr}, got {ast.unparse(node)[:60]}."
                )
                self.value(inner)
                return
            self.value(inner.value)
            return
        self.value(inner)
        if node.attr not in KERNEL_ATTRIBUTES:
            self.attribute_hint(node, {*KERNEL_ATTRIBUTES, *KERNEL_METHODS}, "a tile")
        elif node.attr == "dtype" and self.pointers.may_be(inner, self.function.name):
            self.fail(
                "POL-POINTER",
                node,
                f"expected {ast.unparse(inner)[:60]}.dtype.element_ty or a tl dtype, got "
                f"{ast.unparse(node)[:60]}, which "
                "may be a pointer type. Take the dtype of a loaded tile.",
            )

    def module_refused(self, node: ast.AST, path: str) -> None:
        last = path.rsplit(".", 1)[-1]
        if "__" in path or last.startswith("_"):
            self.fail(
                "POL-INTROSPECT",
                node,
                f"expected a public name, got {path}. Private and dunder names are not allowed.",
            )
        elif "inline_asm" in path or path.startswith("tl.extra"):
            self.fail(
                "POL-ASSEMBLY",
                node,
                f"expected tl functions, got {path}. Foreign code cannot be checked; write it in tl.",
            )
        elif last in ("pointer_type", "block_type", "make_tensor_descriptor", "tensor", "const"):
            self.fail(
                "POL-POINTER",
                node,
                f"expected pointers from arguments, got {path}. Use arithmetic on arguments, tl.load and "
                "tl.store.",
            )
        elif last in ("static_print", "device_print"):
            self.fail("POL-IO", node, f"expected no output, got {path}. Remove it.")
        else:
            allowed = {f"tl.{name}" for name in TL_FUNCTIONS | TL_DTYPES}
            self.fail(
                "POL-KERNEL-CALL",
                node,
                f"expected an allowed name, got {path}. {nearest(path, sorted(allowed))}"[:400],
            )

    # --- calls

    def callee(self, node: ast.Call) -> str | None:
        """The dotted name of what is called, if it is a name of a module, a built-in or a kernel."""
        path = dotted(node.func)
        return None if path is None or self.is_local(path.split(".")[0]) else path

    def call(self, node: ast.Call) -> None:
        function, path = node.func, self.callee(node)
        if isinstance(function, ast.Attribute) and not self.is_module(path):
            self.value(function.value)
            if function.attr not in KERNEL_METHODS:
                self.attribute_hint(function, KERNEL_METHODS, "a tile")
            self.cast(node, node.args[:1] if function.attr in _CASTS else [])
            self.arguments(node, KERNEL_KEYWORDS)
        elif isinstance(function, ast.Attribute):
            self.module_call(node, function, path or "")
        elif isinstance(function, ast.Name):
            self.named_call(node, function.id)
        else:
            self.fail(
                "POL-KERNEL-CALL",
                node,
                f"expected a call of a named function, got {ast.unparse(function)[:60]}(...).",
            )

    def named_call(self, node: ast.Call, name: str) -> None:
        if self.is_local(name):
            self.fail(
                "POL-KERNEL-CALL",
                node,
                f"expected a kernel of the file or a tl function, got a call of the local {name!r}.",
            )
        elif name in self.outline.kernels:
            self.arguments(node, None)
        elif (
            name == "float"
            and len(node.args) == 1
            and isinstance(node.args[0], ast.Constant)
            and node.args[0].value in ("inf", "-inf")
        ):
            return
        elif name in KERNEL_BUILTINS:
            self.arguments(node, frozenset())
        else:
            self.loaded(ast.copy_location(ast.Name(id=name, ctx=ast.Load()), node.func))

    def module_call(self, node: ast.Call, function: ast.Attribute, path: str) -> None:
        module, _, name = path.partition(".")
        math = name.removeprefix("math.")
        if module == "triton" and name in WRAPPER_TRITON:
            self.arguments(node, frozenset())
            return
        if module != "tl" or not (name in TL_FUNCTIONS or (name.startswith("math.") and math in TL_MATH)):
            self.module_refused(function, path)
            return
        if name == "static_assert" and node.args:
            for argument in node.args:
                self.value(argument, text=True)
            for keyword in node.keywords:
                self.keyword(keyword, frozenset({"msg"}))
            return
        if name in TL_COMBINING:
            self.combining(node)
            return
        self.cast(node, node.args[1:2] if name == "cast" else [])
        self.arguments(node, KERNEL_KEYWORDS)

    def combining(self, node: ast.Call) -> None:
        """tl.reduce and tl.associative_scan take a kernel of the file as their third argument."""
        function = (
            node.args[2]
            if len(node.args) > 2
            else next((k.value for k in node.keywords if k.arg == "combine_fn"), None)
        )
        if not (isinstance(function, ast.Name) and function.id in self.outline.kernels):
            self.fail(
                "POL-KERNEL-CALL",
                node,
                f"expected a @triton.jit function of the file to combine with, got {ast.unparse(node)[:60]}.",
            )
        self.values([argument for argument in node.args if argument is not function])
        for keyword in node.keywords:
            if keyword.value is not function:
                self.keyword(keyword, KERNEL_KEYWORDS)

    def cast(self, node: ast.Call, positional: Sequence[ast.expr]) -> None:
        """A cast's target: a tl dtype, the dtype of a tile, or a constexpr; with bitcast only a tl dtype."""
        targets = [*positional, *(keyword.value for keyword in node.keywords if keyword.arg == "dtype")]
        name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        bitcast = [keyword.value for keyword in node.keywords if keyword.arg == "bitcast"]
        bitcast += node.args[2:3] if name == "to" else node.args[3:4] if name == "cast" else []
        wanted = bool(bitcast) and not all(
            isinstance(value, ast.Constant) and value.value is False for value in bitcast
        )
        for target in targets:
            path = dotted(target) or ""
            named = path.startswith("tl.") and path[3:] in TL_DTYPES
            derived = isinstance(target, ast.Name) or (
                isinstance(target, ast.Attribute) and target.attr in ("dtype", "element_ty")
            )
            if not named and (wanted or not derived):
                self.fail(
                    "POL-POINTER",
                    node,
                    f"expected a tl dtype such as tl.float32, got {ast.unparse(target)[:60]} as the target "
                    "of a "
                    f"{'bitcast' if wanted else 'cast'}. Numbers never become pointers.",
                )

    def arguments(self, node: ast.Call, keywords: frozenset[str] | None) -> None:
        self.values(node.args)
        for keyword in node.keywords:
            self.keyword(keyword, keywords)

    def keyword(self, keyword: ast.keyword, keywords: frozenset[str] | None) -> None:
        """One keyword; `keywords` lists the names allowed, None means those of a kernel of the file."""
        if keyword.arg is None:
            self.fail(
                "POL-SYNTAX",
                keyword,
                f"expected named arguments, got **{ast.unparse(keyword.value)[:60]}. Write them out.",
            )
        elif keyword.arg.startswith("_"):
            self.fail("POL-INTROSPECT", keyword, f"expected a public keyword, got {keyword.arg!r}.")
        elif keywords is not None and keyword.arg not in keywords:
            self.fail(
                "POL-KERNEL-CALL",
                keyword,
                f"expected another keyword, got {keyword.arg!r}. {nearest(keyword.arg, sorted(keywords))}"[
                    :400
                ],
            )
        self.value(
            keyword.value,
            text=keywords is None or keyword.arg in KERNEL_TEXT_KEYWORDS or keyword.arg == "msg",
        )
