"""What a stage has to say: findings, statuses, and how they are sorted and printed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

Status = Literal["pass", "fail", "skip", "n/a"]

STAGES: tuple[str, ...] = ("PAR", "POL", "LCK", "CON", "NUM", "GRD", "PRP", "MEM", "SUB", "CMP", "THR", "ADM")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One reason for a rejection, or one note.

    `rule` is a stable id of `verify.rules`; `message` reads "expected x, got y. How to fix.";
    `line` and `column` are 1-based positions in the mechanism's file; `where` names the test case
    (shape, dtype, tuning) in which a dynamic stage saw it.
    """

    rule: str
    message: str
    line: int | None = None
    column: int | None = None
    where: str | None = None

    @property
    def stage(self) -> str:
        return self.rule.split("-", 1)[0]

    def sort_key(self) -> tuple[int, int, int, str, str, str]:
        """By everything that a finding says: what is left equal would come in the order of a set's hashes."""
        place = (STAGES.index(self.stage), self.line or 0, self.column or 0)
        return (*place, self.rule, self.message, self.where or "")

    def render(self, path: str) -> str:
        """`path:line:col RULE message`, the one shape in which findings are printed."""
        position = f"{path}:{self.line or 1}:{self.column or 1}"
        suffix = f" [{self.where}]" if self.where else ""
        return f"{position} {self.rule} {self.message}{suffix}"

    def to_json(self) -> dict[str, Any]:
        return {
            "rule": self.rule,
            "message": self.message,
            "line": self.line,
            "column": self.column,
            "where": self.where,
        }


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Sorted by all that they say, without repeats: the same bytes for the same findings."""
    return tuple(sorted(set(findings), key=Finding.sort_key))
