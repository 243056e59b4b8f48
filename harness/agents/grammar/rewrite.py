"""Puts slot bodies into a skeleton's source through libcst, so that nothing outside the free parts can
change.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import libcst as cst

from harness.agents.grammar.genome import Genome
from harness.agents.grammar.slots import bodies
from harness.agents.protocol import Skeleton
from verify.source.canonical import format_source


def assemble(skeleton: Skeleton, genome: Genome) -> str:
    """The candidate's canonical source: the skeleton with the genome's bodies and docstrings.

    Raises ValueError where the skeleton lacks a function that its slots name.
    """
    written: dict[str, str] = {}
    subjects: dict[str, str] = {}
    for slot, content in genome.contents.items():
        functions = skeleton.slots[slot]
        written.update(zip(functions, bodies(content), strict=True))
        subjects[functions[0]] = genome.descriptions()[slot]
    if genome.edit is not None:
        written[genome.edit.function] = genome.edit.body
    module = _parsed(skeleton.source)
    rewriter = _Bodies(written=written, subjects=subjects)
    changed = module.visit(rewriter)
    missing = sorted(set(written) - rewriter.seen)
    if missing:
        raise ValueError(
            f"{skeleton.name}: expected the top-level functions {missing}, found none of that name"
        )
    return format_source(_with_summary(changed, genome.descriptions()).code)


@lru_cache(maxsize=64)  # trees are immutable, and a run has few skeletons
def _parsed(source: str) -> cst.Module:
    return cst.parse_module(source)


class _Bodies(cst.CSTTransformer):
    """Replaces the statements of top-level functions; the docstring of a torch form names its new
    contents.
    """

    def __init__(self, *, written: Mapping[str, str], subjects: Mapping[str, str]) -> None:
        super().__init__()
        self._written = written
        self._subjects = subjects
        self.seen: set[str] = set()

    def visit_FunctionDef(self, node: cst.FunctionDef) -> bool:  # noqa: ARG002  libcst names it
        return False  # a function inside a function is no slot

    def leave_FunctionDef(
        self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef
    ) -> cst.FunctionDef:
        name = original_node.name.value
        if name not in self._written:
            return updated_node
        self.seen.add(name)
        docstring = original_node.get_docstring()
        lines = list(cst.parse_module(self._written[name] + "\n").body)
        if docstring is not None:
            lines.insert(0, _docstring_line(_renamed(docstring, self._subjects.get(name))))
        return updated_node.with_changes(body=cst.IndentedBlock(body=lines))


def _renamed(docstring: str, subject: str | None) -> str:
    """A docstring `what it is: its contents.` with the contents replaced."""
    if subject is None or ":" not in docstring:
        return docstring
    return f"{docstring.partition(':')[0]}: {subject}."


def _docstring_line(text: str) -> cst.SimpleStatementLine:
    quoted = cst.SimpleString(value=f'"""{text}"""')
    return cst.SimpleStatementLine(body=[cst.Expr(value=quoted)])


def _with_summary(module: cst.Module, descriptions: Mapping[str, str]) -> cst.Module:
    """The module docstring with a paragraph that says what the slots hold."""
    docstring = module.get_docstring(clean=False)
    if docstring is None:
        return module
    lines = "\n".join(f"    {slot.replace('_', ' ')}: {text}" for slot, text in descriptions.items())
    summary = f"{docstring.rstrip()}\n\nIn its slots:\n\n{lines}\n"
    first = _docstring_line(summary)
    return module.with_changes(body=[first, *module.body[1:]])
