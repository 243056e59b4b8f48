"""Text that others wrote, made safe to print on one line of a log, a table or a document."""

from __future__ import annotations

import re


def one_line(text: str) -> str:
    """Control characters, line breaks and lone surrogates as escapes, so that a message cannot start a new
    line.

    A line of a log that begins with `::` is a command to the runner of a CI.
    """
    return "".join(
        character
        if character.isprintable() or character == " "
        else character.encode("unicode_escape", "surrogatepass").decode()
        for character in text
    )


def fence(lines: list[str]) -> str:
    """A run of backticks longer than any in the lines: what to put around them in Markdown."""
    return "`" * max(3, _longest_run("\n".join(lines)) + 1)


def code_span(text: str) -> str:
    """Text as one Markdown code span, in which HTML, mentions and links mean nothing."""
    shown = one_line(text).replace("|", "\\|")
    mark = "`" * (_longest_run(shown) + 1)
    padding = " " if len(mark) > 1 else ""
    return f"{mark}{padding}{shown}{padding}{mark}"


def _longest_run(text: str) -> int:
    """Length of the longest run of backticks."""
    return max((len(run) for run in re.findall("`+", text)), default=0)
