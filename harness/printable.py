"""Text of a model or a server, made fit for terminals, tables and records."""

from __future__ import annotations


def printable(text: str) -> str:
    """The text on one line, white space run together, of characters that a terminal shows and UTF-8 carries.

    Controls, escapes and marks of direction become spaces, lone surrogates `?`.
    """
    return " ".join("".join(one if one.isprintable() else " " for one in encodable(text)).split())


def encodable(text: str) -> str:
    """The text with lone surrogates, which JSON can carry and UTF-8 cannot, replaced by `?`."""
    return text.encode("utf-8", "replace").decode("utf-8")
