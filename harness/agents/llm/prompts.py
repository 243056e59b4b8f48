"""The texts in prompts/: Markdown with `$names`, the first line a version."""

from __future__ import annotations

import functools
import hashlib
import re
import string
from importlib import resources

_FIRST_LINE = re.compile(r"<!-- version [1-9][0-9]* -->")

NAMES = ("crossover", "debug", "draft", "improve", "repair", "simplify", "system")


@functools.cache
def prompt(name: str) -> string.Template:
    """The text of that name, without its first line. Raises ValueError where that line is no version."""
    first, _, text = _read(name).partition("\n")
    if not _FIRST_LINE.fullmatch(first):
        raise ValueError(f"prompts/{name}.md: expected a first line like <!-- version 1 -->, got {first!r}")
    return string.Template(text.strip() + "\n")


@functools.cache
def digest() -> str:
    """Eight characters that change with any of the texts, versions included."""
    return hashlib.sha256("\0".join(_read(name) for name in NAMES).encode()).hexdigest()[:8]


def _read(name: str) -> str:
    return (resources.files(__package__) / "prompts" / f"{name}.md").read_text(encoding="utf-8")
