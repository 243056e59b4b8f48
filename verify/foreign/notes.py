"""What a run of a foreign spec has to say: notes, findings with a place and perhaps an explanation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from verify.findings import STAGES, Status
from verify.foreign.spec import Deviation

ASKED = ("CON", "NUM", "GRD", "PRP", "MEM", "CMP", "THR")
"""The stages that a foreign spec goes through; the others read a mechanism's source."""


@dataclass(frozen=True, kw_only=True)
class Note:
    """One finding. `case` names the run; `kind` is None where nobody has explained it, else `defect` (the
    library's own), `design`, or `precision`.
    """

    rule: str
    message: str
    case: str = ""
    kind: str | None = None
    why: str = ""
    where: str = ""

    @property
    def stage(self) -> str:
        return self.rule.split("-", 1)[0]

    @property
    def fails(self) -> bool:
        """Whether its stage fails by it: an unexplained note does, and so does a defect."""
        return self.kind in (None, "defect")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Note:
        return cls(**fields)


def explained(notes: Iterable[Note], deviations: Iterable[Deviation]) -> list[Note]:
    """Each note with the first deviation that matches it; sorted by stage, rule, case and text."""
    known = tuple(deviations)
    found = set()
    for note in notes:
        match = next((one for one in known if one.matches(note.rule, note.case, note.message)), None)
        match = match if note.kind is None else None
        found.add(note if match is None else replace(note, kind=match.kind, why=match.why, where=match.where))
    return sorted(found, key=lambda one: (STAGES.index(one.stage), one.rule, one.case, one.message))


def absent(notes: Iterable[Note], deviations: Iterable[Deviation]) -> list[Deviation]:
    """Deviations that explain nothing any more: the library, or the spec, has changed."""
    seen = tuple(notes)
    return [one for one in deviations if not any(one.matches(n.rule, n.case, n.message) for n in seen)]


def statuses(notes: Iterable[Note], shown: Iterable[str], skipped: Mapping[str, str]) -> dict[str, Status]:
    """One status for each stage: `shown` are those that something was run for, `skipped` those with a
    reason.
    """
    failed = {note.stage for note in notes if note.fails}
    ran = set(shown)
    found: dict[str, Status] = {}
    for stage in ASKED:
        if stage in failed:
            found[stage] = "fail"
        elif stage in skipped:
            found[stage] = "skip"
        else:
            found[stage] = "pass" if stage in ran else "n/a"
    return found
