"""What a mechanism must be, in the judge's own words: its rules, and the notes beside the skeletons."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from verify.rules import RULES, STAGE_TITLES, Rule
from verify.source.lock import DEFAULT_TEMPLATES

STATIC_STAGES = ("PAR", "POL", "LCK", "CON")
"""Stages that a text passes or fails by what it says; what they ask is told in full."""

_RUN_STAGES = ("NUM", "GRD", "PRP", "MEM", "SUB", "CMP")


def rules_text() -> str:
    """Every rule of the static stages with what it asks, and the titles of those that show when it runs."""
    parts = [_section(stage, _asked(stage)) for stage in STATIC_STAGES]
    parts += [_section(stage, (f"- {rule.id}: {rule.title}" for rule in _of(stage))) for stage in _RUN_STAGES]
    return "\n\n".join(parts)


def family_notes(family: str, templates: Path = DEFAULT_TEMPLATES) -> str:
    """The notes of a family: slots, notation, derivation. Raises FileNotFoundError where it has none."""
    return (templates / family / "notes.md").read_text(encoding="utf-8")


def rule_text(rule_id: str) -> str:
    """What a rule asks and how to fix a finding of it; nothing for an id that the judge does not have."""
    rule = RULES.get(rule_id)
    return "" if rule is None else f"{rule.title}. {rule.what} Fix: {rule.fix}"


def _of(stage: str) -> list[Rule]:
    return [rule for rule in RULES.values() if rule.stage == stage]


def _asked(stage: str) -> Iterable[str]:
    return (f"- {rule.id}: {rule.what}" for rule in _of(stage))


def _section(stage: str, lines: Iterable[str]) -> str:
    return "\n".join([f"### {STAGE_TITLES[stage]}", *lines])
