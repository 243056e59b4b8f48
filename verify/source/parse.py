"""Bytes to text and syntax tree, refusing what could read differently to a person, a parser and the compiler.

Everything later works on a tree of bounded depth made from text without invisible characters, so neither a
reviewer nor a recursive visitor can be surprised by it.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
import unicodedata
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import libcst as cst

from verify.findings import Finding

MAX_BYTES = 200_000
MAX_DEPTH = 80
MAX_LINE_TOKENS = 4_000
MAX_JOINED_STRINGS = 50
MAX_DIGITS = 100

_CODING = re.compile(r"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")  # PEP 263
_TEXT_TOKENS = frozenset({"COMMENT", "STRING", "FSTRING_MIDDLE"})
_LAYOUT_TOKENS = (tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.COMMENT)


@dataclass(frozen=True, kw_only=True)
class Parsed:
    """A mechanism's text and its tree. Positions are the compiler's: 1-based lines, 0-based columns."""

    text: str
    tree: ast.Module


def parse(source: bytes) -> tuple[Parsed | None, list[Finding]]:
    """The text and tree, or None and every reason found up to the first stage of reading that failed."""
    findings = list(_bytes_findings(source))
    if findings:
        return None, findings
    text = source.decode()
    findings = list(_character_findings(text))
    if findings:
        return None, findings
    tree, findings = _tree(text)
    findings += _limits(text)
    return (None, findings) if tree is None or findings else (Parsed(text=text, tree=tree), [])


@lru_cache(maxsize=8)
def _limits(text: str) -> tuple[Finding, ...]:
    """Findings about tokens and nesting; none for text that does not even parse."""
    tree, _ = _tree(text)
    return () if tree is None else (*_token_findings(text), *_depth_findings(tree))


@lru_cache(maxsize=8)  # trees are immutable, and formatter and lock read the same text
def parse_module(text: str) -> cst.Module:
    """The concrete tree of a text. Raises ValueError where it is not Python, or nested so deeply that the
    parser, which recurses natively, would end the process.
    """
    tree, findings = _tree(text)
    findings += _limits(text)
    if tree is None or findings:
        raise ValueError("; ".join(finding.message for finding in findings))
    try:
        return cst.parse_module(text)
    except cst.ParserSyntaxError as error:
        raise ValueError(str(error).splitlines()[0]) from None


def _bytes_findings(source: bytes) -> Iterator[Finding]:
    if len(source) > MAX_BYTES:
        yield Finding(
            rule="PAR-SIZE",
            line=1,
            message=f"expected at most {MAX_BYTES} bytes, got {len(source)}. "
            "One file is one mechanism; remove generated tables.",
        )
        return
    if source.startswith(b"\xef\xbb\xbf"):
        yield Finding(
            rule="PAR-ENCODING",
            line=1,
            message="expected plain UTF-8, got a byte order mark. Save without it.",
        )
    if b"\x00" in source:
        line = source[: source.index(b"\x00")].count(b"\n") + 1
        yield Finding(rule="PAR-ENCODING", line=line, message="expected text, got a null byte. Remove it.")
    try:
        source.decode()
    except UnicodeDecodeError as error:
        line = source[: error.start].count(b"\n") + 1
        yield Finding(
            rule="PAR-ENCODING",
            line=line,
            message=f"expected UTF-8, got the byte 0x{source[error.start]:02x}. Save the file as UTF-8.",
        )


def _character_findings(text: str) -> Iterator[Finding]:
    if not text.strip():
        yield Finding(rule="PAR-SYNTAX", line=1, message="expected a mechanism, got an empty file.")
    for number, line in enumerate(text.split("\n"), start=1):
        if number <= 2 and _CODING.match(line):
            yield Finding(
                rule="PAR-ENCODING",
                line=number,
                message="expected no encoding declaration; files are UTF-8. Remove the comment.",
            )
        if line.isascii() and line.isprintable():
            continue
        for column, character in enumerate(line, start=1):
            if character == "\r":
                yield Finding(
                    rule="PAR-LINE-ENDING",
                    line=number,
                    column=column,
                    message="expected line feeds only, got a carriage return. Save with Unix line endings.",
                )
            elif character == "\t":
                yield Finding(
                    rule="PAR-TAB",
                    line=number,
                    column=column,
                    message="expected spaces, got a tab. Indent by 4 spaces.",
                )
            elif _invisible(character):
                yield Finding(
                    rule="PAR-INVISIBLE",
                    line=number,
                    column=column,
                    message="expected visible characters, got "
                    f"U+{ord(character):04X} {unicodedata.name(character, 'control character')}. Remove it.",
                )


def _invisible(character: str) -> bool:
    """Controls, bidirectional and other format characters, odd separators, unassigned code points."""
    category = unicodedata.category(character)
    return category[0] == "C" or (category[0] == "Z" and character != " ")


def _tree(text: str) -> tuple[ast.Module | None, list[Finding]]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in docstrings warn; they are not our subject
            return ast.parse(text), []
    except SyntaxError as error:
        return None, [
            Finding(
                rule="PAR-SYNTAX",
                line=error.lineno,
                column=error.offset or None,
                message=f"expected Python, got a syntax error: {error.msg}.",
            )
        ]
    except (RecursionError, MemoryError):
        return None, [_too_deep(1)]
    except ValueError as error:
        return None, [Finding(rule="PAR-SYNTAX", line=1, message=f"expected Python, got {error}.")]


def _token_findings(text: str) -> Iterator[Finding]:
    count = strings = 0
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            line, column = token.start
            kind = tokenize.tok_name[token.type]
            if not token.string.isascii() and kind not in _TEXT_TOKENS:
                yield Finding(
                    rule="PAR-IDENTIFIER",
                    line=line,
                    column=column + 1,
                    message="expected ASCII in code, got "
                    f"{token.string[:40]!r}. Rename it; other letters are welcome in comments and "
                    "docstrings.",
                )
            if token.type == tokenize.NUMBER and len(token.string) > MAX_DIGITS:
                yield Finding(
                    rule="PAR-SIZE",
                    line=line,
                    column=column + 1,
                    message=f"expected numbers of at most {MAX_DIGITS} characters, got {len(token.string)}.",
                )
            count = 0 if token.type == tokenize.NEWLINE else count + 1
            if token.type not in _LAYOUT_TOKENS:
                strings = strings + 1 if token.type == tokenize.STRING else 0
            if count == MAX_LINE_TOKENS or strings == MAX_JOINED_STRINGS:
                yield _too_deep(line)
    except (tokenize.TokenError, SyntaxError):
        yield Finding(
            rule="PAR-SYNTAX", line=1, message="expected Python, got text that does not split into tokens."
        )


def _depth_findings(tree: ast.Module) -> Iterator[Finding]:
    """Nesting, counted without recursion; operands of `and` count, since a concrete tree nests them."""
    stack: list[tuple[ast.AST, int, int]] = [(tree, 0, 1)]
    while stack:
        node, depth, line = stack.pop()
        line = getattr(node, "lineno", line)
        if isinstance(node, ast.BoolOp):
            depth += len(node.values)
        if isinstance(node, ast.alias):
            depth += node.name.count(".")
        if depth > MAX_DEPTH:
            yield _too_deep(line)
            return
        stack.extend((child, depth + 1, line) for child in ast.iter_child_nodes(node))


def _too_deep(line: int) -> Finding:
    return Finding(
        rule="PAR-NESTING",
        line=line,
        message=f"expected code nested at most {MAX_DEPTH} deep in lines of at most "
        f"{MAX_LINE_TOKENS} tokens, got more. Split the expression.",
    )
