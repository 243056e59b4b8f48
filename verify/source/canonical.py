"""One canonical form of a mechanism's text: deterministic, idempotent, and modest.

It settles blank lines, indentation, quotes and spaces around separators, and leaves every choice that
well-kept code makes on purpose (line breaks, parentheses, trailing commas, comments). The syntax tree never
changes; that is checked each time.
"""

from __future__ import annotations

import ast
import hashlib
import re
import warnings
from collections.abc import Iterator, Sequence
from functools import lru_cache
from operator import add
from typing import Any, cast

import libcst as cst

from verify.source.parse import parse_module

_SPACE = cst.SimpleWhitespace(" ")
_NONE = cst.SimpleWhitespace("")
_TWO = cst.SimpleWhitespace("  ")
_BLANK = cst.EmptyLine(indent=False)
_Statement = cst.SimpleStatementLine | cst.BaseCompoundStatement
_PLAIN_STRING = re.compile(r"'[^'\"\\\n]*'")


def format_source(text: str) -> str:
    """The canonical form of a module's text.

    Raises ValueError where the text is not Python, or has a layout that this formatter cannot settle without
    changing the program.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    formatted = _settled(text)
    if formatted != text and ast.dump(_tree(formatted)) != ast.dump(_tree(text)):
        raise ValueError("a layout that cannot be settled without changing the program; write it more simply")
    return formatted


def _settled(text: str) -> str:
    """The text with its layout settled: each function by itself, and the rest of the module around them."""
    lines, kept = text.split("\n"), []
    mark = f"_{hashlib.sha256(text.encode(errors='replace')).hexdigest()[:16]}"
    functions: list[str] = []
    done = 0
    for first, last in _functions_apart(text, lines):
        kept += [*lines[done:first], f"def {mark}(): pass"]
        functions.append("\n".join(lines[first:last]))
        done = last
    try:
        around = _whole("\n".join([*kept, *lines[done:]])).split(f"def {mark}():\n    pass\n")
        settled = [_function(function) for function in functions]
    except ValueError:
        return _whole(text)
    if len(around) != len(settled) + 1:
        return _whole(text)
    return around[0] + "".join(map(add, settled, around[1:]))


def _functions_apart(text: str, lines: Sequence[str]) -> Iterator[tuple[int, int]]:
    """The lines, from and to, of the functions of a module that can be formatted by themselves: between one
    and the next statement there are blank lines and comments that cannot belong to its body.
    """
    try:
        body = _tree(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return  # libcst says why
    starts = [*map(_first_line, body), len(lines)]
    for node, start, end in zip(body, starts, starts[1:], strict=False):
        if isinstance(node, ast.FunctionDef) and node.end_lineno is not None:
            between = lines[node.end_lineno : end]
            apart = lines[start].startswith(("@", "def ")) and not lines[node.end_lineno - 1].endswith("\\")
            if apart and all(line == "" or line.startswith("#") for line in between):
                yield start, node.end_lineno


def _first_line(node: ast.stmt) -> int:
    """Index of the line on which a statement begins, with its decorators."""
    marks = node.decorator_list if isinstance(node, ast.FunctionDef | ast.ClassDef) else []
    return min([node.lineno, *(mark.lineno for mark in marks)]) - 1


@lru_cache(maxsize=4096)
def _function(text: str) -> str:
    """One function; mechanisms of a family share most of theirs."""
    return _whole(text)


def _whole(text: str) -> str:
    formatted = parse_module(text).visit(_Canonical()).code
    return formatted.strip("\n") + "\n" if formatted.strip() else ""


def _tree(text: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes in docstrings warn
        return ast.parse(text)


class _Canonical(cst.CSTTransformer):
    """Rewrites white space and quotes bottom-up."""

    def leave_Module(self, _: cst.Module, updated_node: cst.Module) -> cst.Module:
        body = [part for node in updated_node.body for part in _apart(node)]
        placed = [_placed(node, body[index - 1] if index else None) for index, node in enumerate(body)]
        return updated_node.with_changes(
            body=placed,
            header=_collapsed(updated_node.header, most=1),
            footer=_collapsed(updated_node.footer, most=1),
            default_indent="    ",
            default_newline="\n",
        )

    def leave_IndentedBlock(self, _: cst.IndentedBlock, updated_node: cst.IndentedBlock) -> cst.IndentedBlock:
        body = [part for node in updated_node.body for part in _apart(cast("_Statement", node))]
        placed = [
            node.with_changes(leading_lines=_collapsed(node.leading_lines, most=1, keep_first=index > 0))
            for index, node in enumerate(body)
        ]
        return updated_node.with_changes(
            body=placed, indent=None, footer=_without_end(_collapsed(updated_node.footer, most=1))
        )

    def leave_SimpleStatementSuite(
        self, _: cst.SimpleStatementSuite, updated_node: cst.SimpleStatementSuite
    ) -> cst.BaseSuite:
        line = cst.SimpleStatementLine(
            body=updated_node.body, trailing_whitespace=updated_node.trailing_whitespace
        )
        return cst.IndentedBlock(body=_apart(line))

    def leave_FunctionDef(self, _: cst.FunctionDef, updated_node: cst.FunctionDef) -> cst.FunctionDef:
        return updated_node.with_changes(
            whitespace_after_def=_SPACE,
            whitespace_after_name=_NONE,
            whitespace_before_colon=_NONE,
            returns=_arrow(updated_node.returns),
            lines_after_decorators=_collapsed(updated_node.lines_after_decorators, most=0),
        )

    def leave_Decorator(self, _: cst.Decorator, updated_node: cst.Decorator) -> cst.Decorator:
        return updated_node.with_changes(
            whitespace_after_at=_NONE, leading_lines=_collapsed(updated_node.leading_lines, most=0)
        )

    def leave_EmptyLine(self, _: cst.EmptyLine, updated_node: cst.EmptyLine) -> cst.EmptyLine:
        if updated_node.comment is None:
            return updated_node.with_changes(indent=False, whitespace=_NONE, newline=cst.Newline())
        return updated_node.with_changes(newline=cst.Newline())

    def leave_TrailingWhitespace(
        self, _: cst.TrailingWhitespace, updated_node: cst.TrailingWhitespace
    ) -> cst.TrailingWhitespace:
        return updated_node.with_changes(
            whitespace=_NONE if updated_node.comment is None else _TWO, newline=cst.Newline()
        )

    def leave_Comment(self, _: cst.Comment, updated_node: cst.Comment) -> cst.Comment:
        return updated_node.with_changes(value=updated_node.value.rstrip())

    def leave_SimpleString(self, _: cst.SimpleString, updated_node: cst.SimpleString) -> cst.SimpleString:
        value = updated_node.value
        return (
            updated_node.with_changes(value=f'"{value[1:-1]}"')
            if _PLAIN_STRING.fullmatch(value)
            else updated_node
        )

    def visit_FormattedString(self, _: cst.FormattedString) -> bool:
        return False  # quotes and spaces inside of one mean something

    def leave_AssignTarget(self, _: cst.AssignTarget, updated_node: cst.AssignTarget) -> cst.AssignTarget:
        return updated_node.with_changes(
            whitespace_before_equal=_one(updated_node.whitespace_before_equal),
            whitespace_after_equal=_one(updated_node.whitespace_after_equal),
        )

    def leave_AnnAssign(self, _: cst.AnnAssign, updated_node: cst.AnnAssign) -> cst.AnnAssign:
        if not isinstance(updated_node.equal, cst.AssignEqual):
            return updated_node
        return updated_node.with_changes(equal=cst.AssignEqual())

    def leave_Annotation(self, _: cst.Annotation, updated_node: cst.Annotation) -> cst.Annotation:
        return updated_node.with_changes(
            whitespace_after_indicator=_one(updated_node.whitespace_after_indicator)
        )

    def leave_Arg(self, _: cst.Arg, updated_node: cst.Arg) -> cst.Arg:
        node = updated_node.with_changes(whitespace_after_arg=_none(updated_node.whitespace_after_arg))
        if not isinstance(node.equal, cst.AssignEqual):
            return node
        return node.with_changes(equal=cst.AssignEqual(whitespace_before=_NONE, whitespace_after=_NONE))

    def leave_Param(self, _: cst.Param, updated_node: cst.Param) -> cst.Param:
        if not isinstance(updated_node.equal, cst.AssignEqual):
            return updated_node
        space = _NONE if updated_node.annotation is None else _SPACE
        return updated_node.with_changes(
            equal=cst.AssignEqual(whitespace_before=space, whitespace_after=space)
        )

    def leave_Comma(self, _: cst.Comma, updated_node: cst.Comma) -> cst.Comma:
        return updated_node.with_changes(
            whitespace_before=_none(updated_node.whitespace_before),
            whitespace_after=_one(updated_node.whitespace_after),
        )

    def leave_Call(self, _: cst.Call, updated_node: cst.Call) -> cst.Call:
        return updated_node.with_changes(
            args=_separated(updated_node.args),
            whitespace_after_func=_none(updated_node.whitespace_after_func),
            whitespace_before_args=_none(updated_node.whitespace_before_args),
        )

    def leave_Tuple(self, _: cst.Tuple, updated_node: cst.Tuple) -> cst.Tuple:
        return updated_node.with_changes(elements=_separated(updated_node.elements))

    def leave_List(self, _: cst.List, updated_node: cst.List) -> cst.List:
        return updated_node.with_changes(elements=_separated(updated_node.elements))

    def leave_Dict(self, _: cst.Dict, updated_node: cst.Dict) -> cst.Dict:
        return updated_node.with_changes(elements=_separated(updated_node.elements))

    def leave_Set(self, _: cst.Set, updated_node: cst.Set) -> cst.Set:
        return updated_node.with_changes(elements=_separated(updated_node.elements))

    def leave_Subscript(self, _: cst.Subscript, updated_node: cst.Subscript) -> cst.Subscript:
        return updated_node.with_changes(
            slice=_separated(updated_node.slice),
            whitespace_after_value=_none(updated_node.whitespace_after_value),
        )

    def leave_Parameters(self, _: cst.Parameters, updated_node: cst.Parameters) -> cst.Parameters:
        """The last of the plain or keyword-only parameters, where no * or ** follows it."""
        starred = isinstance(updated_node.star_arg, cst.Param | cst.ParamStar)
        last = "kwonly_params" if updated_node.kwonly_params else None if starred else "params"
        if last is None or updated_node.star_kwarg is not None:
            return updated_node
        return updated_node.with_changes(**{last: _separated(getattr(updated_node, last))})

    def leave_LeftParen(self, _: cst.LeftParen, updated_node: cst.LeftParen) -> cst.LeftParen:
        return updated_node.with_changes(whitespace_after=_none(updated_node.whitespace_after))

    def leave_RightParen(self, _: cst.RightParen, updated_node: cst.RightParen) -> cst.RightParen:
        return updated_node.with_changes(whitespace_before=_none(updated_node.whitespace_before))

    def leave_LeftSquareBracket(
        self, _: cst.LeftSquareBracket, updated_node: cst.LeftSquareBracket
    ) -> cst.LeftSquareBracket:
        return updated_node.with_changes(whitespace_after=_none(updated_node.whitespace_after))

    def leave_RightSquareBracket(
        self, _: cst.RightSquareBracket, updated_node: cst.RightSquareBracket
    ) -> cst.RightSquareBracket:
        return updated_node.with_changes(whitespace_before=_none(updated_node.whitespace_before))

    def leave_LeftCurlyBrace(
        self, _: cst.LeftCurlyBrace, updated_node: cst.LeftCurlyBrace
    ) -> cst.LeftCurlyBrace:
        return updated_node.with_changes(whitespace_after=_none(updated_node.whitespace_after))

    def leave_RightCurlyBrace(
        self, _: cst.RightCurlyBrace, updated_node: cst.RightCurlyBrace
    ) -> cst.RightCurlyBrace:
        return updated_node.with_changes(whitespace_before=_none(updated_node.whitespace_before))

    def leave_DictElement(self, _: cst.DictElement, updated_node: cst.DictElement) -> cst.DictElement:
        return updated_node.with_changes(
            whitespace_before_colon=_none(updated_node.whitespace_before_colon),
            whitespace_after_colon=_one(updated_node.whitespace_after_colon),
        )

    def leave_BinaryOperation(
        self, _: cst.BinaryOperation, updated_node: cst.BinaryOperation
    ) -> cst.BinaryOperation:
        return updated_node.with_changes(operator=_even(updated_node.operator))

    def leave_AugAssign(self, _: cst.AugAssign, updated_node: cst.AugAssign) -> cst.AugAssign:
        return updated_node.with_changes(operator=_spaced(updated_node.operator))

    def leave_ComparisonTarget(
        self, _: cst.ComparisonTarget, updated_node: cst.ComparisonTarget
    ) -> cst.ComparisonTarget:
        return updated_node.with_changes(operator=_spaced(updated_node.operator))

    def leave_BooleanOperation(
        self, _: cst.BooleanOperation, updated_node: cst.BooleanOperation
    ) -> cst.BooleanOperation:
        return updated_node.with_changes(operator=_spaced(updated_node.operator))


def _apart(node: _Statement) -> list[_Statement]:
    """One statement a line: `a; b` becomes two lines."""
    if not isinstance(node, cst.SimpleStatementLine):
        return [node]
    parts = [part.with_changes(semicolon=cst.MaybeSentinel.DEFAULT) for part in node.body]
    lines: list[_Statement] = [cst.SimpleStatementLine(body=[part]) for part in parts]
    lines[0] = lines[0].with_changes(leading_lines=node.leading_lines)
    lines[-1] = lines[-1].with_changes(trailing_whitespace=node.trailing_whitespace)
    return lines


def _placed(node: _Statement, previous: _Statement | None) -> _Statement:
    """A top-level statement with its blank lines: two around functions, one after the docstring."""
    lines = _collapsed(node.leading_lines, most=2, keep_first=False)
    given = len(node.leading_lines) > len(lines) or (
        bool(node.leading_lines) and node.leading_lines[0].comment is None
    )
    if previous is None:
        blank = 0
    elif isinstance(node, cst.FunctionDef | cst.ClassDef) or isinstance(
        previous, cst.FunctionDef | cst.ClassDef
    ):
        blank = 2
    else:
        blank = 1 if given or _is_docstring(previous) else 0
    return node.with_changes(leading_lines=[*[_BLANK] * blank, *lines])


def _is_docstring(node: _Statement) -> bool:
    first = node.body[0] if isinstance(node, cst.SimpleStatementLine) else None
    return isinstance(first, cst.Expr) and isinstance(first.value, cst.SimpleString | cst.ConcatenatedString)


def _collapsed(lines: Sequence[cst.EmptyLine], *, most: int, keep_first: bool = True) -> list[cst.EmptyLine]:
    """The lines with runs of blank ones cut to `most`; without `keep_first` those at the start go.

    Comments stand where the statements around them do: further in, they would be another block's.
    """
    kept: list[cst.EmptyLine] = []
    run = 0 if keep_first else most
    for line in lines:
        run = 0 if line.comment is not None else run + 1
        if run <= most:
            kept.append(line.with_changes(whitespace=_NONE))
    return kept


def _without_end(lines: list[cst.EmptyLine]) -> list[cst.EmptyLine]:
    """The lines up to the last comment: blank ones after a block belong to what follows it."""
    kept = list(lines)
    while kept and kept[-1].comment is None:
        kept.pop()
    return kept


def _arrow(returns: cst.Annotation | None) -> cst.Annotation | None:
    return returns if returns is None else returns.with_changes(whitespace_before_indicator=_SPACE)


def _separated(items: Sequence[Any]) -> list[Any]:
    """Items with nothing between a last comma and the bracket; Any, since the item types share no base."""
    if not items or not isinstance(items[-1].comma, cst.Comma):
        return list(items)
    comma = items[-1].comma
    last = items[-1].with_changes(comma=comma.with_changes(whitespace_after=_none(comma.whitespace_after)))
    return [*items[:-1], last]


def _one(space: cst.BaseParenthesizableWhitespace) -> cst.BaseParenthesizableWhitespace:
    return _SPACE if isinstance(space, cst.SimpleWhitespace) and "\\" not in space.value else space


def _none(space: cst.BaseParenthesizableWhitespace) -> cst.BaseParenthesizableWhitespace:
    return _NONE if isinstance(space, cst.SimpleWhitespace) and "\\" not in space.value else space


def _spaced(operator: Any) -> Any:
    """One space on each side, except where the line breaks; Any, since only leaves declare their spaces."""
    if not hasattr(operator, "whitespace_before"):
        return operator
    return operator.with_changes(
        whitespace_before=_one(operator.whitespace_before), whitespace_after=_one(operator.whitespace_after)
    )


def _even(operator: Any) -> Any:
    """The same on both sides: no space or one, as the author grouped it; one where the sides differ."""
    sides = (operator.whitespace_before, operator.whitespace_after)
    tight = all(isinstance(side, cst.SimpleWhitespace) and not side.value for side in sides)
    return operator if tight else _spaced(operator)
