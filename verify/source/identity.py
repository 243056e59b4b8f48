"""Names of a mechanism: the hash of its canonical text, the short id made from it, and a fingerprint that
ignores names.
"""

from __future__ import annotations

import ast
import base64
import hashlib
from collections.abc import Iterable
from functools import lru_cache

from verify.source.outline import Outline

_MARK = b"aira-mechanism/1"
_FINGERPRINT_MARK = b"aira-fingerprint/1"


def source_hash(canonical: bytes) -> str:
    """SHA-256 (hex) over length-prefixed fields: the format's name and the canonical source."""
    return _digest((_MARK, canonical))


def short_id(digest: str) -> str:
    """Eight characters of lower-case base32: the first 40 bits of a hash in hex."""
    return base64.b32encode(bytes.fromhex(digest[:10])).decode().lower()


@lru_cache(maxsize=256)  # who proposes a text asks whether it is known, and who records it asks for its name
def fingerprint(source: str) -> str:
    """A hash (hex) that stays the same when local names, helper names, comments, docstrings, annotations or
    TUNING change.

    Two mechanisms with one fingerprint compute the same thing in the same way; the second is a duplicate.
    """
    outline = Outline(ast.parse(source))
    names = {name: f"function_{index}" for index, name in enumerate(outline.functions)}
    names |= {name: name for name in ("reference", "parallel", "forward", "backward")}
    arguments = {name: _locals(function) for name, function in outline.functions.items()}
    parts: list[bytes] = [_FINGERPRINT_MARK]
    spec = outline.assignment("SPEC")
    if spec is not None:
        parts.append(ast.dump(_Renamer(names, {}, {}, texts=True).visit(spec)).encode())
    for name, function in outline.functions.items():
        renamed = _Renamer(names, arguments[name], arguments).visit(function)
        renamed.body = _without_text(renamed.body)
        parts.append(ast.dump(renamed).encode())
    return _digest(parts)


def _digest(fields: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for field in fields:
        digest.update(len(field).to_bytes(8, "little"))
        digest.update(field)
    return digest.hexdigest()


def _locals(function: ast.FunctionDef) -> dict[str, str]:
    """The function's own names, numbered in order of appearance."""
    args = function.args
    names = dict.fromkeys(argument.arg for argument in (*args.posonlyargs, *args.args, *args.kwonlyargs))
    stores = [
        n
        for n in ast.walk(function)
        if isinstance(n, ast.arg) or (isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))
    ]
    stores.sort(key=lambda node: (node.lineno, node.col_offset))
    names |= dict.fromkeys(node.arg if isinstance(node, ast.arg) else node.id for node in stores)
    return {name: f"local_{index}" for index, name in enumerate(names)}


def _without_text(body: list[ast.stmt]) -> list[ast.stmt]:
    kept = [
        node for node in body if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
    ]
    return kept or [ast.Pass()]


class _Renamer(ast.NodeTransformer):
    """Replaces names by numbers; keywords of calls follow the callee's arguments."""

    def __init__(
        self,
        functions: dict[str, str],
        own: dict[str, str],
        arguments: dict[str, dict[str, str]],
        *,
        texts: bool = False,
    ) -> None:
        self._functions = functions
        self._own = own
        self._arguments = arguments
        self._texts = texts

    def visit_Name(self, node: ast.Name) -> ast.Name:
        return ast.Name(id=self._own.get(node.id) or self._functions.get(node.id, node.id), ctx=ast.Load())

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        if self._texts and isinstance(node.value, str):
            return ast.Constant(value=self._functions.get(node.value, node.value))
        return ast.Constant(value=node.value)

    def visit_arg(self, node: ast.arg) -> ast.arg:
        constexpr = node.annotation is not None and "constexpr" in ast.dump(node.annotation)
        return ast.arg(
            arg=self._own[node.arg],
            annotation=ast.Name(id="constexpr", ctx=ast.Load()) if constexpr else None,
        )

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.name, node.returns = self._functions.get(node.name, node.name), None
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        callee = node.func.value if isinstance(node.func, ast.Subscript) else node.func
        names = self._arguments.get(callee.id, {}) if isinstance(callee, ast.Name) else {}
        for keyword in node.keywords:
            keyword.arg = names.get(keyword.arg or "", keyword.arg)
        return self.generic_visit(node)
