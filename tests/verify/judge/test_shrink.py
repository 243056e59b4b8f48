"""Shrinking: the small case fails for the same reason, is no larger anywhere, and is always the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verify.judge.cases import Case
from verify.judge.judge import WORKER_LIMITS, Judge
from verify.judge.replay import Failure, replay, shrink_failure
from verify.judge.session import Session
from verify.judge.shrink import PLAINER, RUNS, shrink
from verify.source.contract import Spec
from verify.source.static import Mechanism, check_static

ROOT = Path(__file__).resolve().parents[3]


def session_of(judge: Judge, mechanism: Mechanism) -> Session:
    """Workers of the warm server."""
    assert judge.server is not None
    return Session(judge.server, mechanism, WORKER_LIMITS)


def mechanism(source: str) -> Mechanism:
    static = check_static(source.encode(), path="mechanism.py")
    assert static.mechanism is not None, static.findings
    return static.mechanism


@pytest.fixture(scope="module")
def spec() -> Spec:
    skeleton = ROOT / "templates" / "linear_state" / "v1" / "token_decay.py"
    return mechanism(skeleton.read_text(encoding="utf-8")).spec


LARGE = Case(
    sizes=(("B", 3), ("T", 517), ("H", 3), ("K", 100), ("V", 65)),
    dtype="bfloat16",
    tuning=2,
    layout="gapped",
    scale=4.0,
    gate="strong",
    cotangent="expanded",
    needs=("q",),
    draw=5,
)


def sized(**sizes: int) -> tuple[tuple[str, int], ...]:
    return tuple({**LARGE.size_map, **sizes}.items())


class Asked:
    """A predicate that remembers its questions."""

    def __init__(self, fails: Callable[[Case], bool]) -> None:
        self.fails, self.cases = fails, list[Case]()

    def __call__(self, case: Case) -> bool:
        self.cases.append(case)
        return self.fails(case)


def test_what_always_fails_shrinks_to_the_plainest_smallest_case(spec: Spec) -> None:
    found = shrink(LARGE, spec, lambda case: True)
    assert found.case.label == "B=1 T=1 H=1 K=1 V=1, float32, none gates, zero state"
    assert found.runs <= 3
    assert not found.exhausted


def test_what_only_fails_as_it_was_found_stays(spec: Spec) -> None:
    found = shrink(LARGE, spec, lambda case: False)
    assert found.case == LARGE
    assert found.runs <= RUNS


@pytest.mark.parametrize("threshold", [1, 2, 33, 64, 400, 517])
def test_a_threshold_in_time_is_found_exactly(spec: Spec, threshold: int) -> None:
    found = shrink(LARGE, spec, lambda case: case.size_map["T"] >= threshold)
    assert found.case.size_map == {"B": 1, "T": threshold, "H": 1, "K": 1, "V": 1}


def test_conditions_in_several_dimensions_are_found_exactly(spec: Spec) -> None:
    found = shrink(
        LARGE,
        spec,
        lambda case: case.size_map["T"] >= 33 and case.size_map["K"] > 20 and case.size_map["H"] > 1,
    )
    assert found.case.size_map == {"B": 1, "T": 33, "H": 2, "K": 21, "V": 1}
    assert not found.exhausted


@pytest.mark.parametrize("field", PLAINER)
def test_only_what_the_failure_needs_stays_in_the_label(spec: Spec, field: str) -> None:
    needed = getattr(LARGE, field)
    found = shrink(LARGE, spec, lambda case: getattr(case, field) == needed).case
    assert getattr(found, field) == needed
    others = [name for name in PLAINER if name != field]
    assert {name: getattr(found, name) for name in others} == {name: PLAINER[name][0] for name in others}
    assert set(found.size_map.values()) == {1}


def test_a_choice_that_must_not_be_plainest_becomes_as_plain_as_it_may(spec: Spec) -> None:
    found = shrink(LARGE, spec, lambda case: case.cotangent not in ("random", "zero"))
    assert found.case.cotangent == "one_hot"


def test_a_mechanism_without_state_or_gates_names_neither(spec: Spec) -> None:
    bare = replace(spec, state=(), inputs=spec.inputs[:3])
    found = shrink(replace(LARGE, state="zero"), bare, lambda case: True)
    assert found.case.label == "B=1 T=1 H=1 K=1 V=1, float32"


predicates = st.builds(
    lambda least, odd, kinds: (
        lambda case: (
            all(case.size_map[name] >= size for name, size in least.items())
            and (not odd or case.size_map["T"] % 2 == 1)
            and all(getattr(case, name) == getattr(LARGE, name) for name in kinds)
        )
    ),
    st.fixed_dictionaries({name: st.integers(1, size) for name, size in LARGE.sizes}),
    st.booleans(),
    st.sets(st.sampled_from(sorted(PLAINER)), max_size=4),
)


@given(predicates, st.integers(0, RUNS))
def test_the_result_fails_is_no_larger_and_is_deterministic(
    spec: Spec, fails: Callable[[Case], bool], runs: int
) -> None:
    asked, again = Asked(fails), Asked(fails)
    found = shrink(LARGE, spec, asked, runs=runs)
    assert fails(found.case)
    assert all(found.case.size_map[name] <= size for name, size in LARGE.sizes)
    assert len(asked.cases) == found.runs <= runs
    assert len(set(asked.cases)) == len(asked.cases), "no case is run twice"
    assert shrink(LARGE, spec, again, runs=runs) == found
    assert again.cases == asked.cases


def test_only_sizes_that_the_spec_allows_are_run(spec: Spec) -> None:
    rules = {**spec.dims, "K": replace(spec.dims["K"], low=8, high=None)}
    narrow = replace(spec, dims={**rules, "V": replace(spec.dims["V"], high=None, expression="K - 7")})
    case = replace(LARGE, sizes=tuple((n, s) for n, s in LARGE.sizes if n != "V"))
    asked = Asked(lambda case: case.size_map["K"] >= 10)
    found = shrink(case, narrow, asked)
    assert found.case.size_map["K"] == 10
    assert all(narrow.resolve(case.size_map)["V"] >= 1 for case in asked.cases)


# --- with a mechanism that is wrong from its second token on, and only for a second value feature


@pytest.fixture(scope="module")
def broken(honest: str) -> str:
    old = "o.to(o_ptr.dtype.element_ty), mask=columns < V)"
    assert old in honest
    return honest.replace(
        old,
        "tl.where((columns == 1) & (t > 0), 0.9 * o, o).to(o_ptr.dtype.element_ty), mask=columns < V)",
        1,
    )


def test_the_small_case_of_a_broken_mechanism_fails_by_the_same_rule(judge: Judge, broken: str) -> None:
    verdict = judge.check(broken.encode(), path="mechanism.py", depth="quick")
    failure = Failure.of(verdict.measured["counterexamples"][0])
    assert (failure.rule, failure.result) == ("NUM-OUTPUT", "output")
    with session_of(judge, mechanism(broken)) as session:
        found, smallest, shrunk = shrink_failure(session, failure)
        again = shrink_failure(session, failure)[2]
        alone = replay(session, shrunk.case)
    assert shrunk.case.size_map == {"B": 1, "T": 2, "H": 1, "K": 1, "V": 2}
    assert shrunk == again
    assert 0 < shrunk.runs <= RUNS
    assert found.outcome.case == failure.case
    assert found.example == verdict.measured["counterexamples"][0], "the inputs are those of the verdict"
    assert smallest.example is not None
    assert (smallest.example["rule"], smallest.example["index"]) == ("NUM-OUTPUT", [0, 1, 0, 1])
    assert alone.example == smallest.example
    assert alone.drawing is not None
    cells, rows, columns = alone.drawing.cells(24, 48)
    assert (rows, columns) == ([0, 1, 2], [0, 1, 2])
    assert cells.argmax() == 3
    assert cells[0].max() < 0.5 < cells[1, 1]


def test_a_failure_that_does_not_show_again_is_said_to_be_gone(judge: Judge, honest: str) -> None:
    case = Case(sizes=(("B", 1), ("T", 2), ("H", 1), ("K", 3), ("V", 2)), dtype="float32")
    with (
        session_of(judge, mechanism(honest)) as session,
        pytest.raises(ValueError, match=r"expected NUM-OUTPUT for output again at B=1 T=2.*, got no finding"),
    ):
        shrink_failure(session, Failure(rule="NUM-OUTPUT", result="output", case=case))
