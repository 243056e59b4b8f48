"""The text that every Python brings along: the language reference in `pydoc_data.topics`, cut and split.

Topics quote each other at length (a fifth of all characters stand in two topics or more), so a split by topic
would test on what was learned. Here every paragraph is kept once, at its first place, before the sections are
split; what is held out occurs nowhere in what is trained on.
"""

from __future__ import annotations

import hashlib
import platform
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pydoc_data.topics import topics
from typing import Literal

Part = Literal["train", "search", "selection", "final"]
"""What text is for: learning, comparing, re-testing, and the last word, which lm-eval's tasks are made of."""

_HEADING = re.compile(r"^(?=[^\n]*\S[^\n]*\n(?:\*{3,}|={3,}|-{3,}|~{3,}|\"{3,}|\^{3,})$)", re.MULTILINE)
_FINAL, _OTHERS = 5, 16
"""One section in five is final; of the rest one in sixteen each is for search and selection."""
_SHORTEST = 200
"""Sections of fewer characters, what is left of quotations, are dropped."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading with the text under it; `name` is the topic and the heading."""

    name: str
    text: str

    @property
    def part(self) -> Part:
        """Where it belongs, by a hash of its name: the same under every Python that has the section."""
        digest = hashlib.sha256(self.name.encode()).digest()
        if digest[0] % _FINAL == 0:
            return "final"
        others: dict[int, Part] = {0: "search", 1: "selection"}
        return others.get(digest[1] % _OTHERS, "train")


@cache
def sections(part: Part) -> tuple[Section, ...]:
    """The sections of one part, by topic and in order of the topic."""
    return tuple(section for section in _all_sections() if section.part == part)


def corpus_hash() -> str:
    """SHA-256 over names and texts of all sections: Pythons differ in their documentation."""
    digest = hashlib.sha256()
    for section in _all_sections():
        for field in (section.name.encode(), section.text.encode()):
            digest.update(len(field).to_bytes(8, "little"))
            digest.update(field)
    return digest.hexdigest()


def python_version() -> str:
    """Whose documentation the corpus is: `3.11.7`."""
    return platform.python_version()


@cache
def _all_sections() -> tuple[Section, ...]:
    return tuple(section for section in cut(topics) if len(section.text) >= _SHORTEST)


def cut(documents: Mapping[str, str]) -> Iterator[Section]:
    """Sections of documents by name, in order of the names, each without the paragraphs that an earlier one
    has, whatever its line breaks. A heading that a topic repeats is numbered.
    """
    seen: set[str] = set()
    named: Counter[str] = Counter()
    for topic in sorted(documents):
        for section in _HEADING.split(documents[topic]):
            fresh = []
            for paragraph in re.split(r"\n\s*\n", section.strip("\n")):
                words = " ".join(paragraph.split())
                if words and words not in seen:
                    seen.add(words)
                    fresh.append(paragraph.rstrip())
            if fresh:
                name = f"{topic}/{section.strip().partition(chr(10))[0]}"
                named[name] += 1
                number = "" if named[name] == 1 else f" ({named[name]})"
                yield Section(name=f"{name}{number}", text="\n\n".join(fresh))
