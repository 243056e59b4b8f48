"""What can be wrong with an access to memory, how grave it is, and how it is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

EventKind = Literal[
    "out-of-bounds load",
    "out-of-bounds store",
    "outside the view",
    "never-written read",
    "uncovered output",
    "unknown pointer",
    "misaligned",
    "offset overflow",
    "conflicting lanes",
    "conflict between programs",
    "read-write conflict",
    "atomic over plain store",
    "missing barrier",
    "float atomic",
    "overlap of equal values",
]
Severity = Literal["error", "order-dependent", "benign"]

_MILDER: dict[EventKind, Severity] = {"float atomic": "order-dependent", "overlap of equal values": "benign"}


@dataclass(frozen=True, kw_only=True)
class MemoryEvent:
    """Accesses of one kind, by one source line of one kernel, to one buffer.

    `offset` (elements from the start of the buffer), `offsets` (the first few, with it) and `program`
    (x, y, z) are those of the first access seen; `count` is the number of lanes over the whole run. `buffer`
    is empty when the pointer came from no buffer; `argument` names the kernel's parameters that point into
    it. Where two accesses are involved, `other_line` (0: none) and `other_program` are those of the other.
    """

    kind: EventKind
    kernel: str
    line: int
    buffer: str
    offset: int
    count: int
    program: tuple[int, int, int]
    argument: str = ""
    offsets: tuple[int, ...] = ()
    other_line: int = 0
    other_program: tuple[int, int, int] | None = None

    @property
    def severity(self) -> Severity:
        """One of "error" (wrong, or left to chance on a device), "order-dependent" (right up to rounding,
        which changes with the order of programs) and "benign" (worth knowing, and without effect).
        """
        return severity_of(self.kind)


def severity_of(kind: EventKind) -> Severity:
    """How grave events of a kind are, see `MemoryEvent.severity`."""
    return _MILDER.get(kind, "error")


@dataclass(frozen=True, kw_only=True)
class Location:
    """Where an access happens: the kernel, and its line in the mechanism's file."""

    kernel: str
    line: int
