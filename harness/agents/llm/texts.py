"""What the text of a mechanism says about itself: its template, its canonical form, a name and a description.

The text may be anything; what cannot be read is described by what was asked for. What is said is one line
that can be printed and recorded, whatever escapes a docstring holds.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable

from harness.agents.protocol import Skeleton
from harness.printable import printable
from verify.source.canonical import format_source
from verify.source.outline import Outline, span
from verify.source.parse import parse
from verify.source.static import template_name

_SLUG_WORDS = 4
_SLUG = 40
_DESCRIPTION = 80


def canonical(source: str) -> str:
    """The judge's own form of a text, so that white space is nobody's fault; the text itself where it has
    none.
    """
    try:
        return format_source(source)
    except ValueError:
        return source


def named_template(source: str) -> str | None:
    """SPEC["template"], or None where it cannot be read."""
    outline = _outline(source)
    return None if outline is None else template_name(outline)


def slug(source: str, template: str, operator: str) -> str:
    """A folder's name, `[a-z0-9-]+`: the skeleton and the first words of the docstring."""
    short = template.rsplit("/", 1)[-1].replace("_", "-")
    words = re.findall(r"[a-z0-9]+", _title(source).lower().split(":", 1)[0])[:_SLUG_WORDS]
    return f"{short}-{'-'.join(words) or operator}"[:_SLUG].strip("-")


def descriptions(source: str, skeleton: Skeleton | None) -> dict[str, str]:
    """Slot -> what the first of its functions returns; of a free mechanism, its docstring's first line."""
    outline = _outline(source)
    if outline is None:
        return {}
    if skeleton is None or not skeleton.slots:
        return {"mechanism": _title(source)[:_DESCRIPTION]} if _title(source) else {}
    found = {slot: outline.functions.get(names[0]) for slot, names in skeleton.slots.items() if names}
    return {slot: _returned(function) for slot, function in sorted(found.items()) if function is not None}


def function_texts(source: str, names: Iterable[str]) -> list[str]:
    """The text of each of these functions that the source has, decorators included."""
    outline = _outline(source)
    if outline is None:
        return []
    lines = source.split("\n")
    spans = [span(outline.functions[name]) for name in names if name in outline.functions]
    return ["\n".join(lines[first - 1 : last]) for first, last in spans]


def _outline(source: str) -> Outline | None:
    parsed, _ = parse(source.encode())
    return None if parsed is None else Outline(parsed.tree)


def _title(source: str) -> str:
    outline = _outline(source)
    return "" if outline is None else printable(outline.docstring.strip().split("\n", 1)[0])


def _returned(function: ast.FunctionDef) -> str:
    """The body's statements but for the docstring, on one line."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    text = "; ".join(" ".join(ast.unparse(node).split()) for node in body)
    return printable(text.removeprefix("return "))[:_DESCRIPTION]
