"""Cheats that pass every static stage, each refused by its own rule; and honest, unusual mechanisms."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from verify.judge.judge import WORKER_LIMITS, Judge, verdict_seed
from verify.judge.properties import check_properties
from verify.judge.session import Session
from verify.judge.substance import check_known
from verify.source.static import check_static

TESTS = Path(__file__).parents[2]
CHEATS = sorted((TESTS / "cheats").glob("*.py"))
HONEST = sorted((TESTS / "honest").glob("*.py"))


HEADER = re.compile(r"# expect( at full)?: ([A-Z-]+):")


def expected(path: Path) -> tuple[bool, str]:
    """Does it take the full depth, and which rule refuses it?"""
    match = HEADER.match(path.read_text())
    assert match is not None
    return match[1] is not None, match[2]


QUICK = [path for path in CHEATS if not expected(path)[0]]
FULL = [path for path in CHEATS if expected(path)[0]]


@pytest.mark.parametrize("path", QUICK, ids=lambda path: path.stem)
def test_a_cheat_is_refused_by_its_rule(judge: Judge, path: Path) -> None:
    verdict = judge.check(path.read_bytes(), path=path.name, depth="quick")
    assert verdict.admission == "rejected"
    assert expected(path)[1] in {finding.rule for finding in verdict.findings}


@pytest.mark.parametrize("path", FULL, ids=lambda path: path.stem)
def test_a_patient_cheat_is_refused_at_full_depth(judge: Judge, path: Path) -> None:
    """What only the full depth asks of a definition, without the runs of the kernels that agree with it."""
    source = path.read_bytes()
    mechanism = check_static(source, path=path.name).mechanism
    assert mechanism is not None
    assert judge.server is not None
    with Session(judge.server, mechanism, WORKER_LIMITS) as session:
        seed = verdict_seed(mechanism.source_hash)
        findings = check_properties(session, seed, depth="full").findings
        findings += check_known(judge.server, session, WORKER_LIMITS) if not findings else []
    assert expected(path)[1] in {finding.rule for finding in findings}


@pytest.mark.parametrize("path", HONEST, ids=lambda path: path.stem)
def test_an_honest_mechanism_is_clean_whatever_its_seed(judge: Judge, path: Path) -> None:
    # The seed comes from the source: another docstring is another plan.
    for ending in (b"", b" Again."):
        source = path.read_bytes().replace(b'"""\n', ending + b'"""\n', 1)
        verdict = judge.check(source, path=path.name, depth="quick")
        assert [finding.render(path.name) for finding in verdict.findings] == []
