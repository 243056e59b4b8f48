"""How much code a mechanism is."""

from __future__ import annotations

import ast
import io
import tokenize

from harness.objectives.protocol import Passed

_NO_CODE = frozenset(
    (
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
        tokenize.ENCODING,
    )
)


class Lines:
    """Minus the number of lines that hold code, docstrings and comments left out."""

    name = "lines"
    version = 1

    def score(self, passed: Passed) -> float | None:
        try:
            return -float(len(_code_lines(passed.source)))
        except (SyntaxError, tokenize.TokenError):
            return None  # nothing that was admitted, but a score must never end a run


def _code_lines(source: str) -> set[int]:
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in _NO_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    return lines - _docstring_lines(source)


def _docstring_lines(source: str) -> set[int]:
    found: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node):
            first = node.body[0]
            found.update(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return found
