"""The lines that may be at fault where the judge names a result, or an access, rather than the fault.

Two things are known without guessing: what a result is computed from, and how a file differs from the nearest
one that passes. Lines that are in both are told; of a file that is like no other, the nearest of the former.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from harness.agents.llm.dependence import Dependence, Form
from verify.findings import Finding
from verify.source.outline import Outline
from verify.source.parse import parse

MOST = 24
"""Lines told for one finding."""

_ALIKE = 0.6
"""The share of a file's lines that the nearest passing one must have, for the difference to say anything."""

_EXACT_STAGES = ("PAR", "POL", "LCK", "CON")
"""Stages whose line, where they name one, is the fault itself."""

_REFERENCE_RULES = frozenset(
    {
        "NUM-ILL-CONDITIONED",
        "NUM-ORACLE-NONFINITE",
        "GRD-REFERENCE",
        "PRP-DIRECTION",
        "SUB-INPUT-IDLE",
        "SUB-NO-MIXING",
        "SUB-TRIVIAL",
    }
)
"""Rules about the definition, whatever the kernels do."""

_HEAD = re.compile(r".*?(?=:|,? which| of the | under | says | does not )", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Suspects:
    """Lines of the file, sorted, and a sentence that says what is known of them."""

    lines: tuple[int, ...]
    why: str


class Suspicion:
    """One rejected file beside the files of its template that pass: name -> source."""

    def __init__(self, source: str, passing: Mapping[str, str]) -> None:
        self._source = source
        self._lines = source.split("\n")
        self._passing = passing

    def of(self, finding: Finding, *, told: Collection[int] = (), most: int = MOST) -> Suspects | None:
        """What a finding casts suspicion on beyond the line that it names and those that were told already;
        None where these say it all, or where nothing is known.
        """
        if finding.line is not None and finding.stage in _EXACT_STAGES:
            return None
        near, what = self._near(finding)
        name, changed = self._changed
        both = [line for line in changed if line in near]
        if both:
            lines, why = both, f"Lines that bear on {what}, where the file differs from {name}, which passes:"
        elif changed:
            lines, why = changed, f"Where the file differs from {name}, which passes:"
        else:
            lines, why = list(near), f"The nearest of the lines that bear on {what}:"
        fresh = sorted((n for n in lines if n not in told), key=lambda line: (near.get(line, 0), line))[:most]
        return Suspects(lines=tuple(sorted(fresh)), why=why) if fresh else None

    def _near(self, finding: Finding) -> tuple[dict[int, int], str]:
        """Line -> distance from what the finding is about, and a name for that."""
        if self._dependence is None:
            return {}, ""
        near: dict[int, int] = {}
        if finding.line is not None:
            what = f"line {finding.line}"
            near = self._dependence.of_line(finding.line)
            if finding.stage == "CMP":
                near |= dict.fromkeys(self._default_tuning, 0)
        else:
            form, subjects = self._subjects(finding)
            what = " and ".join(subjects)
            for subject in subjects:
                about = self._about(subject, form, access=finding.stage in ("CON", "MEM"))
                for line, distance in about.items():
                    near[line] = min(distance, near.get(line, distance))
        return {line: distance for line, distance in near.items() if line != finding.line}, what

    def _about(self, subject: str, form: Form, *, access: bool) -> dict[int, int]:
        assert self._dependence is not None
        if subject in self._dependence.results:
            return self._dependence.of_result(subject, form, access=access)
        return self._dependence.of_argument(subject, "reference")

    def _subjects(self, finding: Finding) -> tuple[Form, list[str]]:
        """Which form a finding without a line is about, and the results or arguments that it names."""
        assert self._dependence is not None
        form: Form = "kernels"
        if finding.rule.endswith("-PARALLEL"):
            form = "parallel"
        elif finding.rule in _REFERENCE_RULES or " of the reference " in finding.message:
            form = "reference"
        head = _HEAD.match(finding.message)
        words = re.findall(r"\w+", head.group() if head else finding.message)
        known = {**self._dependence.results, **dict.fromkeys(self._dependence.arguments)}
        named = [word for word in dict.fromkeys(words) if word in known]
        if not named and form == "reference":
            named = ["output"]
        # The gradients of what is wrong are wrong as well: where both are named, the results say enough.
        return form, [name for name in named if not name.startswith("d_")] or named

    @cached_property
    def _dependence(self) -> Dependence | None:
        outline = self._outline
        return None if outline is None else Dependence(outline)

    @cached_property
    def _outline(self) -> Outline | None:
        parsed, _ = parse(self._source.encode())
        return None if parsed is None else Outline(parsed.tree)

    @property
    def _default_tuning(self) -> Iterable[int]:
        """The lines of the tuning that is compiled: the first."""
        value = None if self._outline is None else self._outline.assignment("TUNING")
        entries = getattr(value, "elts", [])
        return range(entries[0].lineno, (entries[0].end_lineno or 0) + 1) if entries else ()

    @cached_property
    def _changed(self) -> tuple[str, list[int]]:
        """The nearest passing file, and the lines that differ from it: those that it does not have, and where
        it has some that are missing, the next one. Nothing, where no file is near.
        """
        ours = Counter(self._lines)
        shared = {name: (Counter(text.split("\n")) & ours).total() for name, text in self._passing.items()}
        name = max(shared, key=lambda one: shared[one], default="")
        if not name or shared[name] < _ALIKE * len(self._lines):
            return "", []
        matcher = difflib.SequenceMatcher(None, self._passing[name].split("\n"), self._lines, autojunk=False)
        changed = [
            line + 1
            for tag, _, _, start, stop in matcher.get_opcodes()
            if tag != "equal"
            for line in range(start, min(max(stop, start + 1), len(self._lines)))
        ]
        return name, [line for line in changed if self._says_something(line)]

    def _says_something(self, line: int) -> bool:
        """Whether a line is code: not empty, no comment, and not in the module's docstring."""
        text = self._lines[line - 1].strip()
        first = self._outline.tree.body[0] if self._outline is not None and self._outline.docstring else None
        return bool(text) and not text.startswith("#") and (first is None or line > (first.end_lineno or 0))
