"""The `dims` of a SPEC: rules for dimension names, and that every name used has one."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Mapping
from typing import cast

from verify.source.contract import (
    BATCH,
    FLOORS,
    HEADS,
    LARGEST_DIM,
    STANDARD_DIMS,
    TIME,
    DimRule,
    Spec,
    parse_expression,
)
from verify.source.literals import Entry, LiteralReader

DIM_NAME = re.compile(r"[A-Z][A-Za-z0-9_]{0,15}")
_RANGE = re.compile(r"([0-9]{1,6})\.\.([0-9]{1,6})")


class DimReader(LiteralReader):
    """Reads and checks `dims`."""

    def dims(self, node: ast.expr | None) -> dict[str, DimRule]:
        rules = {}
        for entry in self.entries(node, "dims"):
            rule = self.dim(entry)
            if rule is not None:
                rules[entry.key] = rule
        return rules

    def dim(self, entry: Entry) -> DimRule | None:
        name, value = entry.key, entry.value
        if not DIM_NAME.fullmatch(name):
            self.fail("CON-DIMS", entry.key_node, f"dims: expected names such as W or R, got {name!r}.")
            return None
        if name in (BATCH, TIME):
            self.fail(
                "CON-FLOOR",
                entry.key_node,
                f"dims: {name} takes any size >= 1 and cannot be declared. Remove it.",
            )
            return None
        rule = self.dim_rule(name, value)
        if rule is None:
            self.fail(
                "CON-DIM-RULE",
                value,
                f'dims {name!r}: expected "lo..hi" with 1 <= lo <= hi <= {LARGEST_DIM}, a whole number, or '
                f"an expression of + - * over other names, got {ast.unparse(value)[:60]}.",
            )
        elif name in FLOORS and not (
            rule.expression is None and rule.low <= FLOORS[name][0] and (rule.high or 0) >= FLOORS[name][1]
        ):
            low, high = FLOORS[name]
            self.fail(
                "CON-FLOOR",
                value,
                f"dims {name!r}: expected at least {low}..{high}, got {ast.unparse(value)}. Use another name "
                "for a dimension that cannot take every size.",
            )
            return None
        elif name == HEADS and rule.expression is None:
            self.fail(
                "CON-FLOOR",
                value,
                "dims 'H': expected any size >= 1 or an expression such as \"G*R\", got "
                f"{ast.unparse(value)}.",
            )
            return None
        return rule

    def dim_rule(self, name: str, value: ast.expr) -> DimRule | None:
        content = value.value if isinstance(value, ast.Constant) else None
        if type(content) is int:
            return DimRule(name=name, low=content, high=content) if 1 <= content <= LARGEST_DIM else None
        if not isinstance(content, str):
            return None
        match = _RANGE.fullmatch(content.strip())
        if match:
            low, high = int(match[1]), int(match[2])
            return DimRule(name=name, low=low, high=high) if 1 <= low <= high <= LARGEST_DIM else None
        try:
            parse_expression(content)
        except ValueError:
            return None
        rule = DimRule(name=name, expression=content.strip())
        return rule if rule.names else None

    def known_dims(self, spec: Spec, values: Mapping[str, ast.expr], node: ast.expr) -> None:
        """Every name has a rule, every rule is used, expressions are sound; then add the standard rules."""
        where = values.get("dims", node)
        used = {
            dim for tensor in (*spec.inputs, *spec.params, spec.output, *spec.state) for dim in tensor.dims
        }
        reachable = used | {name for rule in spec.dims.values() for name in rule.names}
        for name in sorted(reachable - set(spec.dims) - set(STANDARD_DIMS)):
            if DIM_NAME.fullmatch(name):
                self.fail(
                    "CON-DIM-RULE",
                    where,
                    f'dimension {name!r} has no rule: expected e.g. "dims": {{"{name}": "1..64"}}.',
                )
        for name in spec.dims:
            if name not in reachable:
                self.fail(
                    "CON-DIM-RULE",
                    where,
                    f"dims {name!r}: expected a name that a tensor uses, got one that none does. Remove it.",
                )
        for name, rule in spec.dims.items():
            if {BATCH, TIME} & set(rule.names):
                self.fail(
                    "CON-DIM-RULE",
                    where,
                    f"dims {name!r}: expected an expression without B and T, got {rule.expression!r}.",
                )
            nested = [
                operand for operand in rule.names if operand == name or _is_expression(operand, spec.dims)
            ]
            if nested:
                self.fail(
                    "CON-DIM-RULE",
                    where,
                    f"dims {name!r}: expected names with sizes of their own in the expression, got "
                    f"{nested[0]!r}, "
                    "which is an expression itself. Write it out.",
                )
            elif rule.expression is not None and _smallest(rule, spec.dims) < 1:
                self.fail(
                    "CON-DIM-RULE",
                    where,
                    f"dims {name!r}: expected an expression that is at least 1 for all sizes, got "
                    f"{rule.expression!r}.",
                )
        for name in sorted(reachable & set(STANDARD_DIMS) - set(spec.dims)):
            low, high = FLOORS.get(name, (1, None))
            spec.dims[name] = DimRule(name=name, low=low, high=high)


def _is_expression(name: str, rules: Mapping[str, DimRule]) -> bool:
    return name in rules and rules[name].expression is not None


def _smallest(rule: DimRule, rules: Mapping[str, DimRule]) -> float:
    """A lower bound of an expression over all sizes of the names in it."""
    return _interval(parse_expression(rule.expression or ""), rules)[0]


def _interval(node: ast.expr, rules: Mapping[str, DimRule]) -> tuple[float, float]:
    """Interval arithmetic over + - *; names are not expressions themselves."""
    if isinstance(node, ast.Constant):
        value = float(cast("int", node.value))
        return value, value
    if isinstance(node, ast.Name):
        low, high = FLOORS.get(node.id, (1, None))
        rule = rules.get(node.id, DimRule(name=node.id, low=low, high=high))
        return rule.low, math.inf if rule.high is None else rule.high
    operation = cast("ast.BinOp", node)
    (a, b), (c, d) = _interval(operation.left, rules), _interval(operation.right, rules)
    if isinstance(operation.op, ast.Add):
        return a + c, b + d
    if isinstance(operation.op, ast.Sub):
        return a - d, b - c
    products = [0.0 if 0.0 in (x, y) else x * y for x in (a, b) for y in (c, d)]
    return min(products), max(products)
