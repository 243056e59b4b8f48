"""SUB: what is known is recognised under other names; idle tensors and kernels are found."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from verify.findings import Finding
from verify.judge.behaviour import behaviour, digest_numbers, same_behaviour, signature
from verify.judge.judge import WORKER_LIMITS, Judge
from verify.judge.session import Session
from verify.judge.substance import check_known, check_substance, known_mechanisms
from verify.source.lock import DEFAULT_TEMPLATES
from verify.source.static import Mechanism, check_static

TESTS = Path(__file__).parents[2]
GATED_SUM = (TESTS / "honest" / "gated_fading_sum.py").read_text()
UNGATED = (DEFAULT_TEMPLATES / "linear_state" / "v1" / "ungated.py").read_text()
FREED = re.sub(
    r'"slots": \{.*?\},\n',
    '"slots": {},\n',
    UNGATED.replace('"template": "linear_state/v1/ungated"', '"template": "free"'),
    count=1,
    flags=re.DOTALL,
)


def mechanism_of(source: str) -> Mechanism:
    found = check_static(source.encode(), path="mechanism.py")
    assert found.mechanism is not None, found.findings
    return found.mechanism


def known_findings(judge: Judge, source: str) -> list[Finding]:
    assert judge.server is not None
    with Session(judge.server, mechanism_of(source), WORKER_LIMITS, roles=("oracle",)) as session:
        return check_known(judge.server, session, WORKER_LIMITS)


def digest_of(judge: Judge, source: str) -> str:
    assert judge.server is not None
    with Session(judge.server, mechanism_of(source), WORKER_LIMITS, roles=("oracle",)) as session:
        return behaviour(session)


def edited(source: str, *edits: tuple[str, str]) -> str:
    for old, new in edits:
        assert old in source, old
        source = source.replace(old, new)
    return source


def test_every_released_mechanism_is_known() -> None:
    names = {name for name, _ in known_mechanisms(DEFAULT_TEMPLATES)}
    assert names == {
        path.relative_to(DEFAULT_TEMPLATES).with_suffix("").as_posix()
        for path in DEFAULT_TEMPLATES.glob("*/v*/[a-z]*.py")
    }
    assert "linear_state/v1/ungated" in names


def test_a_released_mechanism_is_not_a_copy_of_itself(judge: Judge) -> None:
    assert known_findings(judge, UNGATED) == []


@pytest.mark.parametrize(
    "source",
    [
        FREED,
        re.sub(r"\bqueries\b", "readers", FREED),
        # Keys first: q and k change places in SPEC and in every signature, and only there.
        re.sub(
            r"(def (?:reference|parallel|forward)\(\s*)q: torch\.Tensor,(\s*)k: torch\.Tensor",
            r"\1k: torch.Tensor,\2q: torch.Tensor",
            edited(FREED, ('"q": "B T H K", "k": "B T H K"', '"k": "B T H K", "q": "B T H K"')),
        ),
        edited(FREED, ("return K**-0.5", "return 1.0001 * K**-0.5")),
    ],
    ids=["as free", "renamed", "inputs swapped", "with a ten-thousandth added"],
)
def test_a_known_mechanism_is_recognised_under_another_name(judge: Judge, source: str) -> None:
    assert {finding.rule for finding in known_findings(judge, source)} == {"SUB-KNOWN"}


def test_another_feature_map_is_another_mechanism(judge: Judge) -> None:
    other = edited(
        UNGATED,
        (
            "return torch.where(x > 0, x + 1.0, torch.exp(torch.clamp(x, max=0.0)))",
            "return torch.relu(x) * x",
        ),
    )
    assert known_findings(judge, other) == []


def test_digests_agree_for_one_function_and_differ_for_two(judge: Judge) -> None:
    same = edited(GATED_SUM, ("S = 0.5 * S + x[:, t]", "S = x[:, t] + S / 2.0"))
    near = edited(GATED_SUM, ("outputs.append(g[:, t] * S)", "outputs.append(g[:, t] * S * 1.0001)"))
    other = edited(GATED_SUM, ("S = 0.5 * S + x[:, t]", "S = 0.4 * S + x[:, t]"))
    digests = [digest_of(judge, source) for source in (GATED_SUM, same, near, other)]
    assert digests[0] == digests[1]
    assert same_behaviour(digests[0], digests[2])
    assert not same_behaviour(digests[0], digests[3])
    assert digest_numbers(digests[0]).shape == (16,)


def test_names_do_not_enter_a_digest_or_a_signature(judge: Judge) -> None:
    renamed = re.sub(r"\bg\b", "gate", GATED_SUM)
    assert digest_of(judge, renamed) == digest_of(judge, GATED_SUM)
    assert signature(mechanism_of(renamed).spec) == signature(mechanism_of(GATED_SUM).spec)


def test_an_honest_mechanism_has_substance_at_full_depth(judge: Judge) -> None:
    assert judge.server is not None
    with Session(judge.server, mechanism_of(GATED_SUM), WORKER_LIMITS) as session:
        assert check_substance(session, 11, depth="full") == []


def test_kernels_that_ignore_a_tensor_are_found_by_their_response(judge: Judge) -> None:
    source = edited(GATED_SUM, ("        d_S += d_o * g\n", "        d_S += d_o * g * 0.5\n"))
    assert judge.server is not None
    with Session(judge.server, mechanism_of(source), WORKER_LIMITS) as session:
        assert {finding.rule for finding in check_substance(session, 11, depth="full")} == {"SUB-INFLUENCE"}
