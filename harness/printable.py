"""Text of a model or a server, made fit for terminals, tables and records."""

from __future__ import annotations


def printable(text: str) -> str:
    """The text on one line, white space run together, of characters that a terminal shows and UTF-8 carries.

    Controls, escapes and marks of direction become spaces, lone surrogates `?`.
    """
    carried = text.encode("utf-8", "replace").decode("utf-8")
    return " ".join("".join(one if one.isprintable() else " " for one in carried).split())
