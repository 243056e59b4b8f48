"""Text that others wrote, made safe to print on one line of a log, a table or a document."""

from __future__ import annotations


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
    longest = run = 0
    for character in "\n".join(lines):
        run = run + 1 if character == "`" else 0
        longest = max(longest, run)
    return "`" * max(3, longest + 1)


def code_span(text: str) -> str:
    """Text as one Markdown code span, which also keeps HTML, mentions and links in it from meaning
    anything.
    """
    shown = one_line(text).replace("|", "\\|")
    mark = fence([shown])[2:] if "`" in shown else "`"
    return f"{mark} {shown} {mark}" if "`" in shown else f"{mark}{shown}{mark}"
