"""A case survives being printed and pasted."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verify.judge.case_text import fit_case, parse_case
from verify.judge.cases import Case, CotangentKind, GateKind, LayoutKind, StateKind, enumerate_groups
from verify.source.static import Mechanism, check_static

ROOT = Path(__file__).resolve().parents[3]
SKELETONS = sorted((ROOT / "templates").glob("*/v*/*.py"))

CASES = st.builds(
    Case,
    sizes=st.lists(
        st.tuples(st.sampled_from(["B", "T", "H", "K", "V", "LONG_1"]), st.integers(1, 2000)),
        min_size=1,
        unique_by=lambda pair: pair[0],
    ).map(tuple),
    dtype=st.sampled_from(["float32", "bfloat16", "float16"]),
    tuning=st.integers(0, 7),
    layout=st.sampled_from(get_args(LayoutKind)),
    scale=st.one_of(st.integers(-30, 10).map(lambda n: 2.0**n), st.sampled_from([3.0, 0.1])),
    gate=st.sampled_from(get_args(GateKind)),
    state=st.sampled_from(get_args(StateKind)),
    cotangent=st.sampled_from(get_args(CotangentKind)),
    needs=st.none() | st.lists(st.sampled_from("q k v g".split()), unique=True).map(tuple),
    draw=st.integers(0, 9),
)


def mechanism(path: Path) -> Mechanism:
    static = check_static(path.read_bytes(), path=str(path))
    assert static.mechanism is not None, static.findings
    return static.mechanism


@given(CASES)
def test_a_label_reads_back_as_its_case(case: Case) -> None:
    assert parse_case(case.label) == case


@pytest.mark.parametrize("path", SKELETONS, ids=lambda path: path.stem)
def test_every_case_of_a_full_plan_can_be_pasted(path: Path) -> None:
    found = mechanism(path)
    groups = enumerate_groups(found.spec, found.tuning, seed=7, depth="full")
    cases = [case for group in groups for case in group.cases]
    assert len(cases) > 30
    assert [fit_case(parse_case(case.label), found) for case in cases] == cases


def test_parts_may_come_in_any_order_and_with_any_space() -> None:
    pasted = parse_case("  B=1 T=2,float32,   draw 3,gapped inputs ")
    assert pasted == parse_case("B=1 T=2, float32, gapped inputs, draw 3")
    assert pasted.label == "B=1 T=2, float32, gapped inputs, draw 3"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected a case such as"),
        ("T=3", "expected a case such as"),
        ("T=3 K, float32", "expected a case such as"),
        ("T=-3, float32", "expected a case such as"),
        ("T=3, float32, sideways inputs", "'sideways inputs'"),
        ("T=3, float32, scale huge", "expected a scale that is a number, got 'huge'"),
        ("T=3, float32, scale inf", "expected a positive scale, got 'inf'"),
        ("T=3, float32, draw 1, draw 2", "expected one draw"),
    ],
)
def test_what_is_no_case_is_refused_by_the_part_that_is_wrong(text: str, said: str) -> None:
    with pytest.raises(ValueError, match="expected") as error:
        parse_case(text)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("B=1 T=2 H=1 K=3, float32", "missing"),
        ("B=1 T=2 H=1 K=3 V=2 X=1, float32", "unknown"),
        ("B=1 T=2 H=1 K=129 V=2, float32", "dimension K: expected 1..128, got 129"),
        ("B=1 B=2 T=2 H=1 K=3 V=2, float32", "every dimension once"),
        ("B=1 T=2 H=1 K=3 V=2, float16", "expected a dtype of ['float32', 'bfloat16'], got 'float16'"),
        ("B=1 T=2 H=1 K=3 V=2, float32, tuning 3", "expected a tuning below 3, got 3"),
        ("B=1 T=2 H=1 K=3 V=2, float32, needs q+w", "got ['w']"),
    ],
)
def test_a_case_of_another_mechanism_is_refused(text: str, said: str) -> None:
    skeleton = mechanism(ROOT / "templates" / "linear_state" / "v1" / "token_decay.py")
    with pytest.raises(ValueError, match="expected") as error:
        fit_case(parse_case(text), skeleton)
    assert said in str(error.value)


def test_sizes_take_the_order_of_the_spec() -> None:
    skeleton = mechanism(ROOT / "templates" / "linear_state" / "v1" / "token_decay.py")
    case = fit_case(parse_case("V=2 K=3 H=1 T=2 B=1, float32"), skeleton)
    assert case.label == "B=1 T=2 H=1 K=3 V=2, float32"
