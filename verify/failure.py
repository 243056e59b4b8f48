"""Find, shrink and draw what is wrong with a mechanism: the work behind `show --replay` and `replay`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from verify.counterexample import (
    Drawings,
    describe_failure,
    describe_replay,
    first_failure,
    title_of,
)
from verify.error_map import write_png
from verify.judge.cache import Checker
from verify.judge.case_text import fit_case, parse_case
from verify.judge.replay import open_session, replay, shrink_failure
from verify.judge.verdict import Depth, Verdict
from verify.report import verdict_lines
from verify.source.static import Mechanism, check_static

Say = Callable[[str], None]
DEPTHS: tuple[Depth, ...] = ("quick", "full")


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a rejected mechanism looks like: a JSON document, text lines, captioned maps, and one sentence."""

    verdict: Verdict | None
    summary: str
    lines: list[str]
    document: dict[str, Any]
    title: str = ""
    failed: bool = True
    drawings: Drawings = field(default_factory=list)

    def draw(self, path: Path) -> None:
        """Write the maps as one PNG. Raises InfrastructureError where matplotlib is missing."""
        write_png(self.drawings, path, title=self.title)


def find_failure(
    file: Path, source: bytes, judge: Checker, *, require_isolation: bool = True, say: Say = lambda _: None
) -> Found:
    """Judge at depth quick, then full; shrink (and draw) the first wrong number, or the first access."""
    for depth in DEPTHS:
        say(f"judging {file} at depth {depth}")
        verdict = judge.check(source, path=str(file), depth=depth)
        if verdict.admission == "rejected" or verdict.timed_out:
            break
    lines = ["Judged now:", *verdict_lines(str(file), verdict)]
    document: dict[str, Any] = {"verdict": verdict.to_json(), "counterexample": None}
    failure = first_failure(verdict)
    mechanism = check_static(source, path=str(file)).mechanism
    if failure is None or mechanism is None:
        rules = ", ".join(sorted({finding.rule for finding in verdict.findings}))
        summary = (
            f"nothing to draw: the rejection by {rules} has no wrong number and no wrong access"
            if rules
            else f"nothing to draw: no case fails at depth {verdict.depth}"
        )
        return Found(verdict=verdict, summary=summary, lines=lines, document=document, failed=bool(rules))
    say(f"shrinking {failure.case.label}")
    with open_session(mechanism, require_isolation=require_isolation) as session:
        found, smallest, shrunk = shrink_failure(session, failure)
    document["counterexample"], more, drawings = describe_failure(file, failure, found, smallest, shrunk)
    return Found(
        verdict=verdict,
        summary=f"rejected by {failure.rule}; smallest case found: {shrunk.case.label}",
        lines=[*lines, "", "Counterexample:", *more],
        document=document,
        title=title_of(file, failure),
        drawings=drawings,
    )


def replay_case(
    file: Path, source: bytes, text: str, *, seed: int | None = None, require_isolation: bool = True
) -> Found:
    """Run one case, given as text. Raises ValueError where it is no case of this mechanism."""
    mechanism = _mechanism(file, source)
    case = fit_case(parse_case(text), mechanism)
    with open_session(mechanism, require_isolation=require_isolation) as session:
        replayed = replay(session, case, seed=seed)
    document, lines = describe_replay(file, case, replayed)
    drawing = replayed.drawing
    return Found(
        verdict=None,
        summary=document["summary"],
        lines=lines,
        document=document,
        title=f"{document['summary']}: {file.parent.name}/{file.name}",
        failed=bool(replayed.outcome.findings),
        drawings=[] if drawing is None else [(case.label, drawing)],
    )


def _mechanism(file: Path, source: bytes) -> Mechanism:
    static = check_static(source, path=str(file))
    if static.mechanism is None:
        raise ValueError(static.findings[0].render(str(file)))
    return static.mechanism
