"""Expressions and calls of the plain subset; see `verify.source.plain_subset`."""

from __future__ import annotations

import ast
from abc import ABC, abstractmethod
from collections.abc import Sequence

from verify.source.kinds import Scope, is_sequence, kind_of
from verify.source.literals import nearest
from verify.source.outline import Outline, dotted
from verify.source.subset import Subset
from verify.source.vocabulary import (
    ATTRIBUTE_HINTS,
    BUILTINS,
    FLOAT_DTYPES,
    MATH_CONSTANTS,
    MODULES,
    ORACLE_ATTRIBUTES,
    ORACLE_FUNCTIONAL,
    ORACLE_TORCH,
    TL_DTYPES,
    TORCH_DTYPES,
    VALUE_ATTRIBUTES,
)


class Expressions(Subset, ABC):
    """Checks expressions of a plain function; `roles` holds wrapper, oracle, reference, as they reach it."""

    def __init__(
        self, outline: Outline, function: ast.FunctionDef, roles: frozenset[str], kinds: Scope
    ) -> None:
        super().__init__(outline, function)
        self.roles = roles
        self.kinds = kinds
        self.mappings = {"tuning"}
        self.reported: set[int] = set()

    @property
    def wrapper(self) -> bool:
        return "wrapper" in self.roles

    @property
    def oracle(self) -> bool:
        return "oracle" in self.roles

    def optional(self, node: ast.expr | None) -> None:
        if node is not None:
            self.value(node)

    def values(self, nodes: Sequence[ast.expr]) -> None:
        for node in nodes:
            self.value(node)

    def value(self, node: ast.expr) -> None:
        match node:
            case ast.Constant():
                self.constant(node)
            case ast.Name():
                self.loaded(node)
            case ast.Attribute():
                self.attribute(node)
            case ast.Call():
                self.call(node)
            case ast.Subscript():
                self.subscript(node)
            case ast.Slice():
                for part in (node.lower, node.upper, node.step):
                    self.optional(part)
            case ast.BinOp() | ast.UnaryOp() | ast.Compare():
                self.operation(node)
            case ast.BoolOp():
                self.values(node.values)
                self.truth(node.values)
            case ast.IfExp():
                self.values([node.test, node.body, node.orelse])
                self.truth([node.test])
            case ast.Tuple() | ast.List():
                self.values(node.elts)
            case ast.Starred():
                self.value(node.value)
                self.not_tensor(node.value, "* unpacking")
            case ast.ListComp():
                self.comprehension(node)
            case _:
                self.not_allowed(node, "a plain function")

    def constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str | bytes):
            self.fail(
                "POL-STRING",
                node,
                f"expected numbers, got the text {node.value!r:.60}. Text is for tuning keys, einsum and "
                "messages.",
            )
        elif isinstance(node.value, complex):
            self.fail("POL-SYNTAX", node, f"expected real numbers, got {node.value!r}.")

    def loaded(self, node: ast.Name) -> None:
        name = node.id
        if self.is_local(name):
            return
        if name in self.outline.kernels:
            self.fail(
                "POL-KERNEL-USE",
                node,
                f"expected {name}[grid](...), got the kernel {name} as a value. Launch it directly.",
            )
        elif name in self.outline.functions or name in MODULES or name in BUILTINS:
            self.fail(
                "POL-NAME",
                node,
                f"expected a call, got {name!r} as a value. Functions and modules cannot be passed around.",
            )
        elif name in ("SPEC", "TUNING"):
            self.fail(
                "POL-NAME",
                node,
                f"expected an argument, got the module's {name}. Use `tuning` and the constants of SPEC by "
                "name.",
            )
        else:
            self.unknown_name(node, {*BUILTINS, *self.outline.functions, *self.kinds.kinds})

    def attribute(self, node: ast.Attribute) -> None:
        """An attribute that is not called: a dtype, a constant, or a property of a value."""
        path = dotted(node)
        if path is not None and path.split(".")[0] in MODULES and not self.is_local(path.split(".")[0]):
            self.module_value(node, path)
            return
        self.value(node.value)
        allowed = VALUE_ATTRIBUTES if self.wrapper else VALUE_ATTRIBUTES | ORACLE_ATTRIBUTES
        if node.attr == "device" or node.attr not in allowed:
            self.attribute_hint(node, allowed - {"device"}, "a value")
        elif node.attr in ("dtype", "itemsize") and self.oracle:
            self.fail(
                "POL-CAST",
                node,
                f"expected dtype={ast.unparse(node.value)[:60]}.dtype in a call, got a dtype as a value. A "
                "definition is the same in every precision.",
            )

    def module_value(self, node: ast.Attribute, path: str) -> None:
        module, _, name = path.partition(".")
        if path.startswith("torch.") and name in TORCH_DTYPES:
            if "reference" in self.roles and name in FLOAT_DTYPES:
                self.fail(
                    "POL-CAST",
                    node,
                    f"expected the dtype of an input such as q.dtype, got {path} in the reference. The judge "
                    "runs it "
                    "in float64.",
                )
            return
        if (module == "math" and name in MATH_CONSTANTS) or (
            module == "tl" and name in TL_DTYPES and not self.oracle
        ):
            return
        self.module_refused(
            node,
            path,
            {f"torch.{word}" for word in TORCH_DTYPES} | {f"math.{word}" for word in MATH_CONSTANTS},
        )

    def module_refused(self, node: ast.AST, path: str, allowed: set[str]) -> None:
        """A name of a module that is not allowed here, with the rule that fits its use."""
        last = path.rsplit(".", 1)[-1]
        if (
            self.wrapper
            and path.removesuffix(last) in ("torch.", "torch.nn.functional.")
            and last in ORACLE_TORCH | ORACLE_FUNCTIONAL | {"scaled_dot_product_attention"}
        ):
            self.fail(
                "POL-ATEN",
                node,
                f"expected allocations and launches, got {path} in a wrapper. Compute in a @triton.jit "
                "kernel.",
            )
            return
        hint = next((ATTRIBUTE_HINTS[part] for part in path.split(".")[1:] if part in ATTRIBUTE_HINTS), None)
        rule, advice = hint or ("POL-ATTRIBUTE", nearest(path, sorted(allowed)))
        if "__" in path or last.startswith("_"):
            rule, advice = "POL-INTROSPECT", "Private and dunder names are not allowed."
        self.fail(rule, node, f"expected an allowed name, got {path}. {advice}")

    def subscript(self, node: ast.Subscript) -> None:
        self.value(node.value)
        mapping = isinstance(node.value, ast.Name) and node.value.id in self.mappings
        if mapping and isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str):
            return
        self.value(node.slice)
        if (
            self.wrapper
            and kind_of(node.value, self.kinds) == "tensor"
            and kind_of(node.slice, self.kinds) == "tensor"
        ):
            self.fail(
                "POL-ATEN",
                node,
                f"expected slices and numbers as index, got the tensor {ast.unparse(node.slice)[:60]}. "
                "Gather in a kernel.",
            )

    def operation(self, node: ast.BinOp | ast.UnaryOp | ast.Compare) -> None:
        parts = (
            [node.left, node.right]
            if isinstance(node, ast.BinOp)
            else ([node.operand] if isinstance(node, ast.UnaryOp) else [node.left, *node.comparators])
        )
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            self.values(parts)
            self.truth(parts)
            return
        matmul = isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult)
        identity = isinstance(node, ast.Compare) and all(
            isinstance(op, ast.Is | ast.IsNot) for op in node.ops
        )
        tensors = any(kind_of(part, self.kinds) == "tensor" for part in parts)
        if self.wrapper and (matmul or (tensors and not identity)):
            if id(node) not in self.reported:
                self.fail(
                    "POL-ATEN",
                    node,
                    f"expected arithmetic on numbers only, got {ast.unparse(node)[:60]} in a wrapper. "
                    "Compute "
                    "in a @triton.jit kernel.",
                )
            self.reported |= {id(part) for part in parts}  # one finding for a whole formula
        elif (
            isinstance(node, ast.Compare)
            and (len(node.ops) > 1 or any(isinstance(op, ast.In | ast.NotIn) for op in node.ops))
            and tensors
        ):
            self.fail(
                "POL-VALUE-READ",
                node,
                f"expected one comparison of tensors, got {ast.unparse(node)[:60]}, which reads values.",
            )
        self.values(parts)

    def truth(self, nodes: Sequence[ast.expr]) -> None:
        for node in nodes:
            if kind_of(node, self.kinds) == "tensor":
                self.fail(
                    "POL-VALUE-READ",
                    node,
                    f"expected a condition on shapes or numbers, got the tensor {ast.unparse(node)[:60]}. "
                    "Branch "
                    "in a kernel, or use torch.where in a definition.",
                )

    def not_tensor(self, node: ast.expr, what: str) -> None:
        if kind_of(node, self.kinds) == "tensor":
            self.fail(
                "POL-ITERATE",
                node,
                f"expected a sequence in {what}, got the tensor {ast.unparse(node)[:60]}. Use .unbind() or "
                "an index.",
            )

    def comprehension(self, node: ast.ListComp | ast.GeneratorExp) -> None:
        names = {n.id for part in node.generators for n in ast.walk(part.target) if isinstance(n, ast.Name)}
        self.iterable(node.generators[0].iter)  # before the names exist, as Python does
        self.scopes.append(names)
        for index, part in enumerate(node.generators):
            items = part.target.elts if isinstance(part.target, ast.Tuple) else [part.target]
            if part.is_async or not all(isinstance(item, ast.Name) for item in items):
                self.fail(
                    "POL-SYNTAX",
                    part.target,
                    f"expected names to loop with, got {ast.unparse(part.target)[:60]}.",
                )
            if index:
                self.iterable(part.iter)
            for condition in part.ifs:
                self.value(condition)
                self.truth([condition])
        self.value(node.elt)
        self.scopes.pop()

    def iterable(self, node: ast.expr) -> None:
        """A loop's source: something that is a sequence for certain, so that no tensor is iterated."""
        self.value(node)
        if not is_sequence(kind_of(node, self.kinds)):
            self.fail(
                "POL-ITERATE",
                node,
                f"expected range, zip, enumerate, a tuple or a list, got {ast.unparse(node)[:60]}, which may "
                "be a tensor. Iterate over an index.",
            )

    @abstractmethod
    def call(self, node: ast.Call) -> None:
        """Check a call with its arguments."""
