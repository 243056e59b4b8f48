"""Read the broken candidates: patches become files, answers repaired files."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from harness.agents.llm.answers import Submission, read_answer
from harness.agents.llm.protocol import Completion
from verify.judge.verdict import Depth

HERE = Path(__file__).resolve().parent
TEMPLATES = HERE.parents[4] / "templates"
VERDICTS = HERE / "verdicts.json"
COUNT = 12


@dataclass(frozen=True, kw_only=True)
class Broken:
    """One candidate. `rule` is the id of the judge's first finding, at the depth that finds it."""

    name: str
    base: str
    wrong: str
    rule: str
    depth: Depth
    source: str
    answer: str
    repaired: str


def candidates() -> list[Broken]:
    """All of them, sorted by name. Each patch and each answer must apply."""
    return [_read(path) for path in sorted(HERE.glob("*.toml"))]


def recorded() -> dict[str, dict[str, Any]]:
    """Name -> `broken` and `repaired`, each the `judged` event of a run without its position."""
    return cast("dict[str, dict[str, Any]]", json.loads(VERDICTS.read_text(encoding="utf-8")))


def base_source(name: str) -> str:
    return (TEMPLATES / f"{name}.py").read_text(encoding="utf-8")


def _read(path: Path) -> Broken:
    fields = tomllib.loads(path.read_text(encoding="utf-8"))
    source = _changed(path.stem, fields["change"], base_source(fields["base"]))
    return Broken(
        name=path.stem,
        base=fields["base"],
        wrong=fields["wrong"],
        rule=fields["rule"],
        depth=fields.get("depth", "quick"),
        source=source,
        answer=fields["answer"],
        repaired=_changed(path.stem, fields["answer"], source),
    )


def _changed(name: str, answer: str, base: str) -> str:
    read = read_answer(Completion(text=answer, finish="stop"), base)
    assert isinstance(read, Submission), f"{name}: {read.problem}"
    return read.source
