"""Cheats that pass every static stage, each refused by its own rule; and honest, unusual mechanisms."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from verify.findings import Finding
from verify.judge.cases import enumerate_groups
from verify.judge.judge import WORKER_LIMITS, Judge, verdict_seed
from verify.judge.properties import check_properties
from verify.judge.runs import POISONS, finish, start
from verify.judge.session import Session
from verify.judge.substance import check_known
from verify.source.lock import DEFAULT_TEMPLATES
from verify.source.static import check_static

TESTS = Path(__file__).parents[2]
CHEATS = sorted((TESTS / "cheats").glob("*.py"))
HONEST = sorted((TESTS / "honest").glob("*.py"))


# In the first line, or in a slot: a skeleton's first line is locked.
EXPECTED = re.compile(r"^ *# expect( at full)?: ([A-Z-]+):", re.MULTILINE)


def expected(path: Path) -> tuple[bool, str]:
    """Does it take the full depth, and which rule refuses it?"""
    match = EXPECTED.search(path.read_text())
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
    """By what the full depth asks: of kernels thousands of tokens on, else of the definition alone."""
    source = path.read_bytes()
    mechanism = check_static(source, path=path.name).mechanism
    assert mechanism is not None
    assert judge.server is not None
    rule = expected(path)[1]
    with Session(judge.server, mechanism, WORKER_LIMITS) as session:
        seed = verdict_seed(mechanism.source_hash)
        if rule.startswith(("NUM-", "GRD-")):
            findings = far_findings(session, seed)
        else:
            findings = check_properties(session, seed, depth="full").findings
            findings += check_known(judge.server, session, WORKER_LIMITS) if not findings else []
    assert rule in {finding.rule for finding in findings}


def test_an_honest_kernel_equals_its_definition_thousands_of_tokens_on(judge: Judge) -> None:
    source = (DEFAULT_TEMPLATES / "free" / "v1" / "gated_short_convolution.py").read_bytes()
    mechanism = check_static(source, path="mechanism.py").mechanism
    assert mechanism is not None
    assert judge.server is not None
    with Session(judge.server, mechanism, WORKER_LIMITS) as session:
        assert far_findings(session, verdict_seed(mechanism.source_hash)) == []


def far_findings(session: Session, seed: int) -> list[Finding]:
    """What the longest runs of the full depth find: forward in bfloat16 and, if that is clean, float32."""
    mechanism = session.mechanism
    groups = enumerate_groups(mechanism.spec, mechanism.tuning, seed=seed, depth="full")
    (far,) = (group for group in groups if group.name == "far")
    for case in far.cases:
        found = finish(session, start(session, case, seed, poison=POISONS[0])).findings
        if found:
            return found
    return []


@pytest.mark.parametrize("path", HONEST, ids=lambda path: path.stem)
def test_an_honest_mechanism_is_clean_whatever_its_seed(judge: Judge, path: Path) -> None:
    # The seed comes from the source: another docstring is another plan.
    for ending in (b"", b" Again."):
        source = path.read_bytes().replace(b'"""\n', ending + b'"""\n', 1)
        verdict = judge.check(source, path=path.name, depth="quick")
        assert [finding.render(path.name) for finding in verdict.findings] == []
