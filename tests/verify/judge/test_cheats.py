"""Cheats that pass every static stage, each refused by its own rule; and honest, unusual mechanisms."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from verify.judge.judge import Judge

TESTS = Path(__file__).parents[2]
CHEATS = sorted((TESTS / "cheats").glob("*.py"))
HONEST = sorted((TESTS / "honest").glob("*.py"))


@pytest.mark.parametrize("path", CHEATS, ids=lambda path: path.stem)
def test_a_cheat_is_refused_by_its_rule(judge: Judge, path: Path) -> None:
    source = path.read_bytes()
    expected = re.match(rb"# expect( at full)?: ([A-Z-]+):", source)
    assert expected is not None
    verdict = judge.check(source, path=path.name, depth="full" if expected[1] else "quick")
    assert verdict.admission == "rejected"
    assert expected[2].decode() in {finding.rule for finding in verdict.findings}


@pytest.mark.parametrize("path", HONEST, ids=lambda path: path.stem)
def test_an_honest_mechanism_is_clean_whatever_its_seed(judge: Judge, path: Path) -> None:
    # The seed comes from the source: another docstring is another plan.
    for ending in (b"", b" Again.", b" Once more."):
        source = path.read_bytes().replace(b'"""\n', ending + b'"""\n', 1)
        verdict = judge.check(source, path=path.name, depth="quick")
        assert [finding.render(path.name) for finding in verdict.findings] == []
