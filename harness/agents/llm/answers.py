"""From an answer to a file: a whole one or exact-match patches. What is neither becomes a sentence for the
next prompt; nothing is guessed and nothing skipped.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from harness.agents.llm.protocol import Completion

SEARCH, DIVIDER, REPLACE = "<<<<<<< SEARCH", "=======", ">>>>>>> REPLACE"

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})[ \t]*([\w.+-]*)[ \t]*")
_SPEC = re.compile(r"^SPEC\s*(?::[^=\n]*)?=", re.MULTILINE)
_FORWARD = re.compile(r"^def forward\b", re.MULTILINE)
_THOUGHT_END = "</think>"


@dataclass(frozen=True, kw_only=True)
class Submission:
    """The text of a whole mechanism; whether it is a good one is for the judge to say."""

    source: str


@dataclass(frozen=True, kw_only=True)
class Unusable:
    """An answer that holds no mechanism. `problem` reads "expected x, got y. How to fix."."""

    problem: str


@dataclass(frozen=True, kw_only=True)
class Patch:
    """One block: lines that occur exactly once, and what they become."""

    search: str
    replace: str


def read_answer(completion: Completion, base: str | None) -> Submission | Unusable:
    """The mechanism that an answer holds, patches applied to `base` (None: there is nothing to patch)."""
    if completion.finish == "refusal":
        return Unusable(problem=f"expected a mechanism, got a refusal: {completion.detail}")
    if completion.finish == "malformed":
        return Unusable(problem=completion.detail)
    cut = completion.finish == "length"
    text = completion.text.replace("\r\n", "\n").replace("\r", "\n")
    if text.lstrip().startswith("<think>"):
        thought, end, text = text.partition(_THOUGHT_END)
        if not end:
            return _cut_off(f"nothing but thoughts ({len(thought)} characters)")
    if not text.strip():
        return _cut_off("nothing") if cut else Unusable(problem="expected a mechanism, got an empty answer.")
    if any(line.rstrip() == SEARCH for line in text.split("\n")):
        return _patched(text, base, cut=cut)
    return _whole(text, cut=cut)


def _whole(text: str, *, cut: bool) -> Submission | Unusable:
    """The one block that is a whole file, or the whole text where it has no blocks."""
    blocks, is_open = _blocks(text)
    if not blocks and not is_open:
        if _is_mechanism(text):
            return _cut_off("a file") if cut else Submission(source=text)
        if cut:
            return _cut_off("no code")
        return Unusable(
            problem="expected a whole file or SEARCH/REPLACE blocks, got no code. Send one of them."
        )
    files = list(dict.fromkeys(block for block in blocks if _is_mechanism(block)))
    if len(files) == 1:
        return Submission(source=files[0])
    if files:
        return Unusable(
            problem=f"expected one whole file, got {len(files)} different ones. Send only the final one."
        )
    if is_open:
        return _cut_off("a code block without its end")
    if cut:
        return _cut_off(f"{len(blocks)} code block(s) that are parts")
    return Unusable(
        problem=f"expected a whole file (with SPEC and def forward), got {len(blocks)} code block(s) that "
        "are parts. Send the whole file, or SEARCH/REPLACE blocks."
    )


def _patched(text: str, base: str | None, *, cut: bool) -> Submission | Unusable:
    if base is None:
        return Unusable(
            problem="expected a whole file, got SEARCH/REPLACE blocks, but there is no file to change."
        )
    patches = read_patches(text)
    if isinstance(patches, Unusable):
        return _cut_off("a SEARCH/REPLACE block without its end") if cut else patches
    if cut:
        return _cut_off(f"{len(patches)} SEARCH/REPLACE block(s)")
    return apply_patches(base, patches)


def read_patches(text: str) -> list[Patch] | Unusable:
    """The blocks of a text, in order; what stands around them, fences included, is passed over."""
    patches: list[Patch] = []
    search: list[str] = []
    replace: list[str] = []
    part = "outside"
    for line in text.split("\n"):
        mark = line.rstrip()
        if (part, mark) == ("outside", SEARCH):
            part, search, replace = "search", [], []
        elif (part, mark) == ("search", DIVIDER):
            part = "replace"
        elif (part, mark) == ("replace", REPLACE):
            part = "outside"
            patches.append(Patch(search="\n".join(search), replace="\n".join(replace)))
        elif mark in (SEARCH, REPLACE):
            return Unusable(
                problem=f"block {len(patches) + 1}: expected the lines {SEARCH!r}, {DIVIDER!r}, {REPLACE!r} "
                f"in this order, got {mark!r} out of order."
            )
        elif part != "outside":
            (search if part == "search" else replace).append(line)
    if part != "outside":
        return Unusable(
            problem=f"block {len(patches) + 1}: expected the line {REPLACE!r} at its end, got "
            "the end of the answer."
        )
    return patches


def apply_patches(base: str, patches: list[Patch]) -> Submission | Unusable:
    """One patch after another, each to lines that occur exactly once in what the earlier ones left."""
    lines = base.split("\n")
    for number, patch in enumerate(patches, start=1):
        search = patch.search.split("\n")
        if not patch.search.strip():
            return Unusable(
                problem=f"block {number}: expected lines to search for, got none. Quote lines of the file."
            )
        places = [n for n in range(len(lines) - len(search) + 1) if lines[n : n + len(search)] == search]
        if not places:
            return Unusable(problem=f"block {number}: {_no_match(search, lines)}")
        if len(places) > 1:
            return Unusable(
                problem=f"block {number}: expected lines that occur once, got lines that occur {len(places)} "
                f"times (first at lines {places[0] + 1} and {places[1] + 1}). Quote more lines around them."
            )
        replacement = patch.replace.split("\n") if patch.replace else []
        lines[places[0] : places[0] + len(search)] = replacement
    source = "\n".join(lines)
    if source == base:
        return Unusable(problem=f"expected a change, got {len(patches)} block(s) that change nothing.")
    return Submission(source=source)


def _no_match(search: list[str], lines: list[str]) -> str:
    """Which line of a block is not in the file as it stands, and the nearest one that is."""
    present = set(lines)
    missing = next((line for line in search if line not in present), None)
    if missing is None:
        return "expected lines of the file, got lines that do not follow each other there. Copy them exactly."
    nearest = difflib.get_close_matches(missing[:200], lines, n=1, cutoff=0.6)
    hint = f" The nearest line is {nearest[0][:200]!r}." if nearest else ""
    return f"expected lines of the file, got {missing[:200]!r}, which is not in it.{hint} Copy lines exactly."


def _blocks(text: str) -> tuple[list[str], bool]:
    """The contents of all closed code blocks, and whether the last one is open at the end.

    A block ends with a fence of its own kind, at least as long and without a language (CommonMark 4.5).
    """
    blocks: list[str] = []
    fence: str | None = None
    lines: list[str] = []
    for line in text.split("\n"):
        match = _FENCE.fullmatch(line)
        if fence is None:
            if match:
                fence, lines = match.group(1), []
        elif match and match.group(1).startswith(fence) and not match.group(2):
            blocks.append("\n".join(lines) + "\n")
            fence = None
        else:
            lines.append(line)
    return blocks, fence is not None


def _is_mechanism(text: str) -> bool:
    return bool(_SPEC.search(text) and _FORWARD.search(text))


def _cut_off(what: str) -> Unusable:
    return Unusable(
        problem=f"expected a whole answer, got {what}: it was cut off. Answer with less text, and with "
        "SEARCH/REPLACE blocks instead of a whole file where there is a file."
    )
