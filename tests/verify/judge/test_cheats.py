"""Cheats that pass every static stage, each refused by its own rule; and honest, unusual mechanisms."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from verify.findings import Finding
from verify.judge.cases import Planner, enumerate_groups
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
COPIES = [path for path in FULL if expected(path)[1] == "SUB-KNOWN"]
CHEAP = [path for path in HONEST if path.stem in ("mean_mixer", "window_attention")]
"""Judged at whole lengths and under two plans by every run of the suite."""

SHORT = 16


@pytest.mark.parametrize("path", QUICK, ids=lambda path: path.stem)
def test_a_cheat_is_refused_by_its_rule(judge: Judge, path: Path) -> None:
    verdict = judge.check(path.read_bytes(), path=path.name, depth="quick")
    assert verdict.admission == "rejected"
    assert expected(path)[1] in {finding.rule for finding in verdict.findings}


@pytest.mark.parametrize("path", FULL, ids=lambda path: path.stem)
def test_a_patient_cheat_is_refused_at_full_depth(judge: Judge, path: Path) -> None:
    """By what the full depth asks: of kernels at many heads and tokens, else of the definition alone."""
    source = path.read_bytes()
    mechanism = check_static(source, path=path.name).mechanism
    assert mechanism is not None
    assert judge.server is not None
    rule = expected(path)[1]
    with Session(judge.server, mechanism, WORKER_LIMITS) as session:
        seed = verdict_seed(mechanism.source_hash)
        if rule.startswith("SUB-"):
            findings = check_known(judge.server, session, WORKER_LIMITS)
        elif rule.startswith("PRP-"):
            findings = check_properties(session, seed, depth="full").findings
        else:
            findings = last_findings(session, seed)
    assert rule in {finding.rule for finding in findings}


@pytest.mark.thorough
@pytest.mark.parametrize("path", COPIES, ids=lambda path: path.stem)
def test_a_copy_has_every_property_of_what_it_copies(judge: Judge, path: Path) -> None:
    """So that the rule about copies is the one that it takes."""
    mechanism = check_static(path.read_bytes(), path=path.name).mechanism
    assert mechanism is not None
    assert judge.server is not None
    with Session(judge.server, mechanism, WORKER_LIMITS) as session:
        assert check_properties(session, verdict_seed(mechanism.source_hash), depth="full").findings == []


def test_an_honest_kernel_equals_its_definition_thousands_of_tokens_on(judge: Judge) -> None:
    source = (DEFAULT_TEMPLATES / "free" / "v1" / "gated_short_convolution.py").read_bytes()
    mechanism = check_static(source, path="mechanism.py").mechanism
    assert mechanism is not None
    assert judge.server is not None
    with Session(judge.server, mechanism, WORKER_LIMITS) as session:
        assert last_findings(session, verdict_seed(mechanism.source_hash)) == []


def last_findings(session: Session, seed: int) -> list[Finding]:
    """What the last runs of the full depth find: many sequences and heads, then thousands of tokens."""
    mechanism = session.mechanism
    groups = enumerate_groups(mechanism.spec, mechanism.tuning, seed=seed, depth="full")
    far, many = groups[-2:]
    assert (far.name, many.name) == ("far", "many")
    for case in (*many.cases, *far.cases):
        found = finish(session, start(session, case, seed, poison=POISONS[0])).findings
        if found:
            return found
    return []


def with_seed_of(path: Path, ending: str) -> bytes:
    """The seed comes from the source: another docstring is another plan."""
    changed = path.read_bytes().replace(b'"""\n', ending.encode() + b'"""\n', 1)
    assert (changed == path.read_bytes()) == (ending == "")
    return changed


def plans() -> Iterator[object]:
    """Three seeds of each honest mechanism, two of them where that is cheap."""
    for number, ending in enumerate(("", " Again.", " And again."), start=1):
        for path in HONEST:
            marks = () if path in CHEAP and number < 3 else pytest.mark.thorough
            yield pytest.param(path, ending, id=f"{path.stem}-{number}", marks=marks)


@pytest.mark.slow
@pytest.mark.parametrize("path", [path for path in HONEST if path not in CHEAP], ids=lambda path: path.stem)
def test_an_honest_mechanism_is_clean(judge: Judge, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no tile says which lengths are interesting, over sequences half as long as the judge's."""
    usual = Planner.block_of

    def block_of(planner: Planner, index: int) -> int:
        tiled = any(not name.startswith("num_") for name in planner.tuning[index])
        return usual(planner, index) if tiled else SHORT

    monkeypatch.setattr(Planner, "block_of", block_of)
    verdict = judge.check(path.read_bytes(), path=path.name, depth="quick")
    assert [finding.render(path.name) for finding in verdict.findings] == []


@pytest.mark.slow
@pytest.mark.parametrize(("path", "ending"), list(plans()))
def test_an_honest_mechanism_is_clean_whatever_its_seed(judge: Judge, path: Path, ending: str) -> None:
    verdict = judge.check(with_seed_of(path, ending), path=path.name, depth="quick")
    assert [finding.render(path.name) for finding in verdict.findings] == []
