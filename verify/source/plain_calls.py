"""Calls and launches of the plain subset; see `verify.source.plain_subset`."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence

from verify.source.kinds import kind_of
from verify.source.literals import nearest
from verify.source.outline import ORACLE_ENTRIES, WRAPPER_ENTRIES, dotted
from verify.source.plain_expressions import Expressions
from verify.source.vocabulary import (
    BUILTIN_KEYWORDS,
    BUILTINS,
    FUNCTIONAL_POSITIONAL,
    LIST_METHODS,
    MATH_FUNCTIONS,
    MODULES,
    ORACLE_CASTS,
    ORACLE_FUNCTIONAL,
    ORACLE_KEYWORDS,
    ORACLE_METHODS,
    ORACLE_TORCH,
    TEXT_KEYWORDS,
    TORCH_DTYPES,
    WRAPPER_KEYWORDS,
    WRAPPER_METHODS,
    WRAPPER_TORCH,
    WRAPPER_TRITON,
)

_EINSUM = re.compile(r"[A-Za-z., ]+(->[A-Za-z. ]*)?")
_READING_BUILTINS = frozenset(
    {"int", "float", "bool", "max", "min", "round", "range", "divmod", "any", "all", "sorted"}
)
_ITERATING_BUILTINS = frozenset({"list", "tuple", "zip", "enumerate", "reversed", "sum"})


class Calls(Expressions):
    """Checks calls of functions of the file, built-ins, module functions, methods, and launches."""

    def call(self, node: ast.Call) -> None:
        function = node.func
        if isinstance(function, ast.Subscript):
            self.launch(node, function)
        elif isinstance(function, ast.Name):
            self.named_call(node, function)
        elif isinstance(function, ast.Attribute):
            path = dotted(function)
            if path is not None and path.split(".")[0] in MODULES and not self.is_local(path.split(".")[0]):
                self.module_call(node, function, path)
            else:
                self.method(node, function)
        else:
            self.fail(
                "POL-CALL",
                node,
                f"expected a call of a named function, got {ast.unparse(function)[:60]}(...). Calls cannot "
                "be computed.",
            )

    def named_call(self, node: ast.Call, function: ast.Name) -> None:
        name = function.id
        if self.is_local(name):
            self.fail(
                "POL-CALL",
                node,
                f"expected a function of the file, got a call of the local {name!r}. Functions cannot be "
                "passed around.",
            )
        elif name in self.outline.kernels:
            self.fail(
                "POL-KERNEL-USE",
                node,
                f"expected {name}[grid](...), got {name}(...). A kernel runs only when it is launched.",
            )
        elif name in self.outline.functions:
            self.crossing(node, name)
            self.arguments(node, None)
            return
        elif name in BUILTINS:
            self.builtin(node, name)
            return
        else:
            self.unknown_name(function, {*BUILTINS, *self.outline.functions})
        self.arguments(node, None)

    def crossing(self, node: ast.Call, name: str) -> None:
        """Wrappers and definitions prove each other, so neither may run the other."""
        theft = self.wrapper and name in ORACLE_ENTRIES
        if theft or (self.oracle and name in WRAPPER_ENTRIES):
            self.fail(
                "POL-REFERENCE",
                node,
                f"expected {'kernels' if theft else 'plain PyTorch'} to do the work, got a call of {name}. "
                "The "
                "wrappers and the definition must not use each other.",
            )

    def builtin(self, node: ast.Call, name: str) -> None:
        if (
            name == "float"
            and len(node.args) == 1
            and isinstance(node.args[0], ast.Constant)
            and node.args[0].value in ("inf", "-inf")
        ):
            return
        for argument in node.args:
            if isinstance(argument, ast.GeneratorExp) and len(node.args) == 1:
                self.comprehension(argument)
            else:
                self.value(argument)
            if kind_of(argument, self.kinds) == "tensor" and name in _READING_BUILTINS:
                self.fail(
                    "POL-VALUE-READ",
                    node,
                    f"expected {name}() of numbers, got the tensor {ast.unparse(argument)[:60]}. A plan "
                    "depends on "
                    "shapes only.",
                )
            if name in _ITERATING_BUILTINS:
                self.not_tensor(argument, f"{name}()")
        for keyword in node.keywords:
            if keyword.arg not in BUILTIN_KEYWORDS.get(name, frozenset()):
                self.fail("POL-CALL", keyword, f"{name}(): expected no keyword {keyword.arg!r}. Remove it.")
            self.value(keyword.value)

    def module_call(self, node: ast.Call, function: ast.Attribute, path: str) -> None:
        allowed = self.module_functions()
        if path not in allowed:
            self.module_refused(function, path, allowed)
            self.arguments(node, None)
            return
        if path == "torch.einsum":
            self.einsum(node)
        name = path.rsplit(".", 1)[-1]
        if "functional" in path and (
            len(node.args) > FUNCTIONAL_POSITIONAL.get(name, 9)
            or any(isinstance(a, ast.Starred) for a in node.args)
        ):
            self.fail(
                "POL-INPLACE",
                node,
                f"{path}: expected options by keyword, got {len(node.args)} positional arguments, one of "
                "which may "
                "mean inplace.",
            )
        skipped = node.args[:1] if path == "torch.einsum" else []
        self.arguments(node, self.keywords() if path.startswith("torch.") else frozenset(), skipped)

    def module_functions(self) -> set[str]:
        both = {f"math.{name}" for name in MATH_FUNCTIONS} | {f"torch.{name}" for name in WRAPPER_TORCH}
        wrapper = {f"triton.{name}" for name in WRAPPER_TRITON}
        oracle = {f"torch.{name}" for name in ORACLE_TORCH - TORCH_DTYPES} | {
            f"torch.nn.functional.{name}" for name in ORACLE_FUNCTIONAL
        }
        if self.wrapper and self.oracle:
            return both - {"torch.empty", "torch.empty_like"}
        return (
            both | wrapper if self.wrapper else {name for name in both if name.startswith("math.")} | oracle
        )

    def keywords(self) -> frozenset[str]:
        return WRAPPER_KEYWORDS if self.wrapper else ORACLE_KEYWORDS

    def einsum(self, node: ast.Call) -> None:
        first = node.args[0] if node.args else None
        if not (
            isinstance(first, ast.Constant)
            and isinstance(first.value, str)
            and _EINSUM.fullmatch(first.value)
        ):
            self.fail(
                "POL-STRING",
                node,
                "torch.einsum: expected the equation as a literal first argument, got "
                f"{ast.unparse(node)[:60]}.",
            )

    def method(self, node: ast.Call, function: ast.Attribute) -> None:
        name = function.attr
        self.value(function.value)
        if name in LIST_METHODS and kind_of(function.value, self.kinds) not in ("tensor", "number"):
            self.arguments(node, frozenset())
            return
        allowed = WRAPPER_METHODS if self.wrapper else ORACLE_METHODS | ORACLE_CASTS
        if self.wrapper and self.oracle:
            allowed = WRAPPER_METHODS & (ORACLE_METHODS | ORACLE_CASTS)
        if "reference" in self.roles and name in ORACLE_CASTS | {"type"}:
            self.fail(
                "POL-CAST",
                node,
                f"expected the reference to keep the dtype of its inputs, got .{name}(). The judge runs it "
                "in float64.",
            )
        elif name not in allowed and self.wrapper and name in ORACLE_METHODS | ORACLE_CASTS:
            self.fail(
                "POL-ATEN",
                node,
                f"expected allocations, views and launches, got .{name}() in a wrapper. Compute in a "
                "@triton.jit kernel.",
            )
        elif name not in allowed:
            self.attribute_hint(function, allowed, "a tensor")
        if name == "to" and not self.only_dtype(node):
            self.fail(
                "POL-DEVICE",
                node,
                f"expected .to(dtype), got {ast.unparse(node)[:60]}. A plan serves every device.",
            )
        target = node.args[0] if name == "to" and len(node.args) == 1 else None
        if isinstance(target, ast.Attribute) and target.attr == "dtype":
            self.value(target.value)
            return
        self.arguments(node, self.keywords())

    def only_dtype(self, node: ast.Call) -> bool:
        values = [*node.args, *(keyword.value for keyword in node.keywords)]
        named = all(keyword.arg == "dtype" for keyword in node.keywords)
        return named and len(values) == 1 and kind_of(values[0], self.kinds) in ("other", "unknown", None)

    def arguments(
        self, node: ast.Call, keywords: frozenset[str] | None, skipped: Sequence[ast.expr] = ()
    ) -> None:
        """Check arguments; `keywords` lists the names allowed, None means those of a function of the file."""
        self.values([argument for argument in node.args if argument not in skipped])
        for keyword in node.keywords:
            if keyword.arg is None:
                self.fail(
                    "POL-SYNTAX",
                    keyword,
                    f"expected named arguments, got **{ast.unparse(keyword.value)[:60]}. Write them out.",
                )
            elif keywords is not None and keyword.arg not in keywords:
                rule = "POL-INPLACE" if keyword.arg in ("out", "inplace") else "POL-CALL"
                self.fail(
                    rule,
                    keyword,
                    f"expected another keyword, got {keyword.arg!r}. "
                    f"{nearest(keyword.arg, sorted(keywords))}",
                )
            self.keyword_value(keyword)

    def keyword_value(self, keyword: ast.keyword) -> None:
        value = keyword.value
        if (
            keyword.arg == "device"
            and isinstance(value, ast.Attribute)
            and value.attr == "device"
            and dotted(value) != "torch.device"
        ) or (keyword.arg == "dtype" and isinstance(value, ast.Attribute) and value.attr == "dtype"):
            self.value(value.value)
        elif keyword.arg == "device":
            self.fail(
                "POL-DEVICE",
                keyword,
                f"expected device=x.device, got device={ast.unparse(value)[:60]}. A plan serves every "
                "device.",
            )
        elif isinstance(value, ast.Constant) and value.value in TEXT_KEYWORDS.get(
            keyword.arg or "", frozenset()
        ):
            return
        else:
            self.value(value)

    # --- launches

    def launch(self, node: ast.Call, function: ast.Subscript) -> None:
        kernel = function.value
        if not (
            isinstance(kernel, ast.Name)
            and kernel.id in self.outline.kernels
            and not self.is_local(kernel.id)
        ):
            self.fail(
                "POL-CALL",
                node,
                f"expected kernel[grid](...), got {ast.unparse(function)[:60]}(...). Calls cannot be "
                "computed.",
            )
            self.value(kernel)
        elif not self.wrapper or self.oracle:
            self.fail(
                "POL-KERNEL-USE",
                node,
                f"expected plain PyTorch in a definition, got a launch of {kernel.id}.",
            )
        if isinstance(function.slice, ast.Lambda):
            self.grid(function.slice)
        else:
            self.value(function.slice)
        for argument in node.args:
            self.launch_value(argument)
        for keyword in node.keywords:
            unpacked = (
                keyword.arg is None and isinstance(keyword.value, ast.Name) and keyword.value.id == "tuning"
            )
            if keyword.arg is None and not unpacked:
                self.fail(
                    "POL-SYNTAX",
                    keyword,
                    f"expected **tuning or named arguments, got **{ast.unparse(keyword.value)[:60]}.",
                )
            self.launch_value(keyword.value)

    def launch_value(self, node: ast.expr) -> None:
        """An argument of a kernel; text may be a constexpr."""
        if not (isinstance(node, ast.Constant) and isinstance(node.value, str)):
            self.value(node)

    def grid(self, node: ast.Lambda) -> None:
        """A grid as a function of meta: one argument, without default, and an expression of the subset."""
        args = node.args
        if (
            len(args.args) != 1
            or args.posonlyargs
            or args.kwonlyargs
            or args.vararg
            or args.kwarg
            or args.defaults
        ):
            self.fail("POL-SYNTAX", node, f"expected lambda meta: (...), got {ast.unparse(node)[:60]}.")
        names = {argument.arg for argument in (*args.posonlyargs, *args.args, *args.kwonlyargs)}
        self.scopes.append(names)
        self.mappings |= names
        self.value(node.body)
        self.scopes.pop()
