"""Literals of the syntax tree as Python values, with the position of every mistake."""

from __future__ import annotations

import ast
import difflib
import math
from collections.abc import Iterable
from dataclasses import dataclass

from verify.findings import Finding


@dataclass(frozen=True)
class Entry:
    """A key of a literal dict with the nodes it came from."""

    key: str
    key_node: ast.expr
    value: ast.expr


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint that names the nearest known word, or lists them all."""
    words = list(known)
    close = difflib.get_close_matches(name, words, n=1, cutoff=0.6)
    return f"Did you mean {close[0]!r}?" if close else f"Valid: {', '.join(words)}."


class LiteralReader:
    """Collects findings while it turns literal nodes into values."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []

    def fail(self, rule: str, node: ast.AST, message: str) -> None:
        line, column = getattr(node, "lineno", 1), getattr(node, "col_offset", 0)
        self.findings.append(Finding(rule=rule, message=message, line=line, column=column + 1))

    def entries(self, node: ast.expr | None, what: str) -> list[Entry]:
        """The items of a literal dict with string keys; repeated keys are findings."""
        if node is None:
            return []
        if not isinstance(node, ast.Dict):
            self.fail(
                "CON-SPEC-VALUE", node, f"{what}: expected a literal dict, got {ast.unparse(node)[:60]}."
            )
            return []
        found: dict[str, Entry] = {}
        for key, value in zip(node.keys, node.values, strict=True):
            name = self.text(key, f"a key of {what}") if key is not None else None
            if key is None:
                self.fail(
                    "CON-SPEC-VALUE",
                    value,
                    f"{what}: expected plain keys, got ** unpacking. Write every entry out.",
                )
            elif name in found:
                self.fail("CON-SPEC-KEY", key, f"{what}: the key {name!r} appears twice. Remove one.")
            elif name is not None:
                found[name] = Entry(name, key, value)
        return list(found.values())

    def text(self, node: ast.expr, what: str) -> str | None:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return node.value
        self.fail("CON-SPEC-VALUE", node, f"{what}: expected a string literal, got {ast.unparse(node)[:60]}.")
        return None

    def number(self, node: ast.expr) -> int | float | None:
        """A finite number literal, with a sign if any; None for anything else."""
        sign = 1
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
            sign, node = (-1 if isinstance(node.op, ast.USub) else 1), node.operand
        value = node.value if isinstance(node, ast.Constant) else None
        if type(value) is int and abs(value) < 2**63:
            return sign * value
        return sign * value if type(value) is float and math.isfinite(value) else None
