"""One case run again: every kind of wrong number has its element and its map."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from verify.findings import Finding
from verify.judge.cases import Case
from verify.judge.judge import WORKER_LIMITS, Judge
from verify.judge.replay import Failure, replay, shrink_failure
from verify.judge.session import Session
from verify.source.static import Mechanism, check_static

CASE = Case(sizes=(("B", 2), ("T", 5), ("H", 2), ("K", 3), ("V", 4)), dtype="float32")


def session_of(judge: Judge, mechanism: Mechanism) -> Session:
    """Workers of the warm server."""
    assert judge.server is not None
    return Session(judge.server, mechanism, WORKER_LIMITS)


def mechanism(source: str) -> Mechanism:
    static = check_static(source.encode(), path="mechanism.py")
    assert static.mechanism is not None, static.findings
    return static.mechanism


def edited(source: str, old: str, new: str) -> Mechanism:
    assert source.count(old) == 1
    return mechanism(source.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "rule", "result", "axes"),
    [
        (
            "final_ptr + i_bh * K * V + tile, S, mask",
            "final_ptr + i_bh * K * V + tile, tl.where(columns[None, :] == 2, 2.0 * S, S), mask",
            "NUM-STATE",
            "S",
            ("K", "V"),
        ),
        (
            "o = tl.sum(q[:, None] * S, 0)",
            "o = tl.sum(q[:, None] * S, 0) / tl.where(columns == 2, 0.0, 1.0)",
            "NUM-NONFINITE",
            "output",
            ("T", "V"),
        ),
        ("total_ptr + i_h, total)", "total_ptr + i_h, 2.0 * total)", "GRD-VALUE", "d_a", ("", "H")),
        ("scores, v)", "scores, 1.1 * v)", "NUM-PARALLEL", "output", ("T", "V")),
    ],
    ids=["state", "not finite", "gradient of a parameter", "parallel form"],
)
def test_a_wrong_result_has_its_element_and_its_map(
    judge: Judge, honest: str, old: str, new: str, rule: str, result: str, axes: tuple[str, str]
) -> None:
    with session_of(judge, edited(honest, old, new)) as session:
        found = replay(session, CASE, wanted=Failure(rule=rule, result=result, case=CASE))
    assert found.example is not None
    assert (found.example["rule"], found.example["result"]) == (rule, result)
    drawing = found.drawing
    assert drawing is not None
    assert (drawing.row_axis, drawing.column_axis) == axes
    cells = drawing.cells(24, 48)[0]
    assert cells.max() > 0.5
    if rule in ("NUM-STATE", "NUM-NONFINITE"):
        wrong = cells > 0.5
        assert wrong[:, 2].all()
        assert not np.delete(wrong, 2, axis=1).any()


def test_a_right_case_draws_the_result_nearest_to_its_tolerance(judge: Judge, honest: str) -> None:
    with session_of(judge, mechanism(honest)) as session:
        found = replay(session, CASE)
    assert found.example is None
    assert found.outcome.findings == []
    assert found.drawing is not None
    worst = max(found.outcome.ratios, key=lambda name: found.outcome.ratios[name])
    assert found.drawing.result == worst.removeprefix("parallel ") + (
        " of parallel" if worst.startswith("parallel ") else ""
    )
    assert 0.0 < found.drawing.cells(24, 48)[0].max() <= 0.5


def test_a_run_that_ends_early_has_findings_and_no_map(judge: Judge, honest: str) -> None:
    missing = edited(honest, "return d_q, d_k, d_v, d_a, d_initial", "return d_q, d_k, d_v, None, d_initial")
    with session_of(judge, missing) as session:
        found = replay(session, CASE)
    assert {finding.rule for finding in found.outcome.findings} == {"GRD-MISSING"}
    assert (found.example, found.drawing) == (None, None)


def test_inputs_are_those_of_the_seed(judge: Judge, honest: str) -> None:
    wrong = edited(honest, "o = tl.sum(q[:, None] * S, 0)", "o = 2.0 * tl.sum(q[:, None] * S, 0)")
    with session_of(judge, wrong) as session:
        first, again = replay(session, CASE), replay(session, CASE)
        other = replay(session, CASE, seed=1)
    assert first.example == again.example
    assert first.example is not None
    assert other.example is not None
    assert first.example["expected"] != other.example["expected"]


def test_a_wrong_access_is_shrunk_by_its_rule_and_line(judge: Judge, honest: str) -> None:
    """A store that lost its mask: at any size that is no power of two, and with any inputs."""
    masked = "o.to(o_ptr.dtype.element_ty), mask=columns < V)"
    wrong = edited(honest, masked, "o.to(o_ptr.dtype.element_ty))")
    case = replace(CASE, sizes=(*CASE.sizes[:-1], ("V", 5)))
    with session_of(judge, wrong) as session:
        finding = next(f for f in replay(session, case).outcome.findings if f.rule == "MEM-OUT-OF-BOUNDS")
        failure = Failure.at(finding)
        assert failure is not None
        assert (failure.case, failure.line) == (case, finding.line)
        first, last, shrunk = shrink_failure(session, failure, runs=2)
    assert first.finding == finding
    assert last.finding is not None
    assert (last.finding.rule, last.finding.line) == (finding.rule, finding.line)
    assert all(size <= case.size_map[name] for name, size in shrunk.case.sizes)
    assert Failure.at(Finding(rule="MEM-ORDER", message="", where="programs in reverse")) is None
