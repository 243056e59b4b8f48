"""What a mechanism promises: its SPEC as types, and the sizes that follow from it.

A SPEC is read from the syntax tree by `verify.source.spec_reader`; these types are what every later stage
sees. Layout is (B, T, H, D) everywhere: inputs and the output start with B and T, state starts with B and
holds no T.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

CONTRACT_VERSION = 1

DOMAINS: tuple[str, ...] = ("normal", "unit_norm", "log_decay", "unit_interval", "positive", "angle", "index")
"""The closed list of input domains; the judge owns the distribution of each (log_decay is <= 0)."""

DIFFERENTIABLE_DTYPES: tuple[str, ...] = ("io", "float32")
REQUIRED_DTYPES: tuple[str, ...] = ("float32", "bfloat16")
EXTRA_DTYPES: tuple[str, ...] = ("float16",)

BATCH, TIME, HEADS = "B", "T", "H"
FLOORS: Mapping[str, tuple[int, int]] = {"K": (1, 128), "V": (1, 128), "D": (1, 128)}
"""Ranges a SPEC may widen and never narrow; B, T and H take any size from 1."""
STANDARD_DIMS: tuple[str, ...] = (BATCH, TIME, HEADS, *FLOORS)
LARGEST_DIM = 1024

TensorDtype = Literal["io", "float32", "int32"]


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """One tensor of the contract, e.g. `"g": "B T H : log_decay, float32"`.

    `dtype` is `io` (the run's dtype), `float32`, or `int32`, which exactly the `index` inputs have.
    """

    name: str
    dims: tuple[str, ...]
    domain: str = "normal"
    dtype: TensorDtype = "io"

    @property
    def differentiable(self) -> bool:
        """False for `index` inputs: they get no perturbation and no gradient."""
        return self.domain != "index"

    def shape(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """The shape at `sizes`, which must hold every name of `dims` (see `Spec.resolve`)."""
        missing = [dim for dim in self.dims if dim not in sizes]
        if missing:
            raise ValueError(f"{self.name}: expected sizes for {list(self.dims)}, got none for {missing}")
        return tuple(sizes[dim] for dim in self.dims)


@dataclass(frozen=True, kw_only=True)
class DimRule:
    """The sizes of a dimension: a range `low..high` (high None = unbounded), or an expression of names."""

    name: str
    low: int = 1
    high: int | None = None
    expression: str | None = None

    @property
    def fixed(self) -> int | None:
        """The one size it may take, if there is only one."""
        return self.low if self.expression is None and self.low == self.high else None

    @property
    def names(self) -> tuple[str, ...]:
        """The names its expression reads, in order of appearance."""
        if self.expression is None:
            return ()
        nodes = ast.walk(parse_expression(self.expression))
        return tuple(dict.fromkeys(node.id for node in nodes if isinstance(node, ast.Name)))

    def allows(self, size: int) -> bool:
        return size >= self.low and (self.high is None or size <= self.high)


@dataclass(frozen=True, kw_only=True)
class Spec:
    """A mechanism's contract. `dims` holds a rule for every name in use, declared or standard."""

    contract: int
    template: str
    causal: bool
    slots: dict[str, tuple[str, ...]]
    inputs: tuple[TensorSpec, ...]
    params: tuple[TensorSpec, ...]
    dims: dict[str, DimRule]
    constants: dict[str, int | float]
    output: TensorSpec
    state: tuple[TensorSpec, ...]
    dtypes: tuple[str, ...]

    @property
    def arguments(self) -> tuple[TensorSpec, ...]:
        """The positional arguments of forward and reference: inputs, then params."""
        return self.inputs + self.params

    @property
    def differentiated(self) -> tuple[TensorSpec, ...]:
        """One entry per gradient and per item of `needs`: inputs, params, state."""
        return self.inputs + self.params + self.state

    @property
    def family(self) -> str:
        return self.template.split("/", 1)[0]

    @property
    def skeleton(self) -> str | None:
        return None if self.template == "free" else self.template

    def all_dims(self) -> tuple[str, ...]:
        """Every dimension name in use, in order of first appearance, expression operands last."""
        tensors = (*self.inputs, *self.params, self.output, *self.state)
        names = dict.fromkeys(dim for tensor in tensors for dim in tensor.dims)
        for rule in self.dims.values():
            names.update(dict.fromkeys((rule.name, *rule.names)))
        return tuple(names)

    def free_dims(self) -> tuple[str, ...]:
        """The names whose size a caller chooses: neither fixed nor an expression."""
        return tuple(
            n for n in self.all_dims() if self.dims[n].expression is None and self.dims[n].fixed is None
        )

    def head_dims(self) -> tuple[str, ...]:
        """The names that H is made of, e.g. G and R of `"H": "G*R"`; none where H is a size of its own."""
        return self.dims[HEADS].names if HEADS in self.dims else ()

    def module_dims(self) -> tuple[str, ...]:
        """The free names that are not standard: the module takes their sizes as keywords."""
        return tuple(name for name in self.free_dims() if name not in STANDARD_DIMS)

    def resolve(self, sizes: Mapping[str, int]) -> dict[str, int]:
        """Every dimension's size, given at least the free ones.

        Raises ValueError where a size is missing, unknown, out of its rule, or disagrees with its expression.
        """
        known = self.all_dims()
        unknown = [name for name in sizes if name not in known]
        missing = [name for name in self.free_dims() if name not in sizes]
        if unknown or missing:
            raise ValueError(
                f"expected sizes for {list(self.free_dims())}, got unknown {unknown}, missing {missing}"
            )
        full: dict[str, int] = {}
        for name in known:
            value = _size_of(name, self.dims, sizes)
            if name in sizes and sizes[name] != value:
                raise ValueError(f"dimension {name}: expected {value}, got {sizes[name]}")
            if not self.dims[name].allows(value):
                raise ValueError(f"dimension {name}: expected {describe(self.dims[name])}, got {value}")
            full[name] = value
        return full

    def infer(self, shown: Mapping[str, int]) -> dict[str, int]:
        """Every dimension's size, given those that tensors show.

        A name that no tensor has stands in an expression that one does (R in H = G * R) and is the smallest
        size that agrees with it. Raises ValueError as `resolve`, and where no size agrees.
        """
        found = dict(shown)
        for name in self.free_dims():
            rules = [r for r in self.dims.values() if name in r.names and r.name in found]
            others = {operand for r in rules for operand in r.names} - {name}
            if name not in found and rules and others <= set(found):
                found[name] = self._agreeing(name, rules, found)
        return self.resolve(found)

    def _agreeing(self, name: str, rules: Sequence[DimRule], found: Mapping[str, int]) -> int:
        for size in range(self.dims[name].low, (self.dims[name].high or LARGEST_DIM) + 1):
            sizes = {**found, name: size}
            if all(_size_of(rule.name, self.dims, sizes) == found[rule.name] for rule in rules):
                return size
        rule = rules[0]
        known = ", ".join(f"{operand} = {found[operand]}" for operand in rule.names if operand != name)
        raise ValueError(
            f"dimension {rule.name}: expected {rule.expression} for some {name} ({describe(self.dims[name])})"
            f" and {known}, got {found[rule.name]}"
        )


def describe(rule: DimRule) -> str:
    """The rule as a SPEC writes it."""
    if rule.expression is not None:
        return rule.expression
    return (
        f">= {rule.low}"
        if rule.high is None
        else str(rule.low)
        if rule.low == rule.high
        else f"{rule.low}..{rule.high}"
    )


def parse_expression(text: str) -> ast.expr:
    """The tree of an expression of + - * over names and whole numbers; ValueError for anything else."""
    if len(text) > 100 or not text.isascii():
        raise ValueError(f"expected a short expression of + - * over names, got {text[:100]!r}")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise ValueError(f"expected an expression of + - * over names, got {text!r}") from None
    for node in ast.walk(tree):
        whole = isinstance(node, ast.Constant) and type(node.value) is int and 0 <= node.value <= LARGEST_DIM
        operator = isinstance(node, ast.Add | ast.Sub | ast.Mult | ast.Load)
        if not (whole or operator or isinstance(node, ast.BinOp | ast.Name)):
            raise ValueError(f"expected an expression of + - * over names, got {text!r}")
    return tree


def _size_of(name: str, rules: Mapping[str, DimRule], sizes: Mapping[str, int]) -> int:
    rule = rules[name]
    if rule.expression is not None:
        return _evaluate(parse_expression(rule.expression), rules, sizes)
    return sizes[name] if rule.fixed is None else rule.fixed


def _evaluate(node: ast.expr, rules: Mapping[str, DimRule], sizes: Mapping[str, int]) -> int:
    if isinstance(node, ast.Constant):
        assert isinstance(node.value, int)
        return node.value
    if isinstance(node, ast.Name):
        return _size_of(node.id, rules, sizes)
    assert isinstance(node, ast.BinOp)
    left, right = _evaluate(node.left, rules, sizes), _evaluate(node.right, rules, sizes)
    if isinstance(node.op, ast.Add):
        return left + right
    return left - right if isinstance(node.op, ast.Sub) else left * right
