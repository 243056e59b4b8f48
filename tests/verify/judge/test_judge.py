"""The judge end to end at depth quick: an honest mechanism is clean, and each kind of lie has its own
rule.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import pytest

from verify.judge.cases import Case
from verify.judge.differences import check_gradients
from verify.judge.judge import WORKER_LIMITS, IsolationError, Judge
from verify.judge.session import Session
from verify.judge.verdict import Verdict
from verify.sandbox.client import Server
from verify.source.static import check_static


def check(judge: Judge, source: str) -> Verdict:
    return judge.check(source.encode(), path="mechanism.py", depth="quick")


def edited(source: str, old: str, new: str) -> str:
    assert old in source
    return source.replace(old, new, 1)


def rules_of(verdict: Verdict) -> set[str]:
    return {finding.rule for finding in verdict.findings}


def line_of(source: str, text: str) -> int:
    return next(number for number, line in enumerate(source.splitlines(), start=1) if text in line)


def test_an_honest_mechanism_is_clean_and_not_admitted_at_quick(clean: Verdict) -> None:
    assert clean.findings == ()
    assert clean.admission == "incomplete"
    assert {stage for stage, status in clean.stages.items() if status == "pass"} >= {
        "CON",
        "NUM",
        "GRD",
        "MEM",
    }
    assert clean.stages["CMP"] == clean.stages["ADM"] == "skip"


def test_the_same_source_has_the_same_verdict_bytes(judge: Judge, honest: str) -> None:
    broken = edited(honest, "decay * S + k[:, None]", "decay * S - k[:, None]")
    first, second = check(judge, broken), check(judge, broken)
    assert first.to_bytes() == second.to_bytes()
    assert Verdict.from_bytes(first.to_bytes()) == second


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        (
            "o.to(o_ptr.dtype.element_ty), mask=columns < V)",
            "0.0 * o.to(o_ptr.dtype.element_ty), mask=columns < V)",
            "NUM-OUTPUT",
        ),
        (
            "tl.store(final_ptr + i_bh * K * V + tile, S, mask=inside)",
            "tl.store(final_ptr + i_bh * K * V + tile, S * 0.99, mask=inside)",
            "NUM-STATE",
        ),
        ("d_q = tl.sum(after * d_o[None, :], 1)", "d_q = tl.sum(before * d_o[None, :], 1)", "GRD-VALUE"),
        (
            "    return d_q, d_k, d_v, d_a, d_initial",
            "    return d_q, d_k, d_v, None, d_initial",
            "GRD-MISSING",
        ),
        ("o = tl.sum(q[:, None] * S, 0)", "o = tl.sum(q[:, None] * S, 0) / 0.0", "NUM-NONFINITE"),
        (
            "o.to(o_ptr.dtype.element_ty), mask=columns < V)",
            "o.to(o_ptr.dtype.element_ty), mask=columns < V - 1)",
            "MEM-UNCOVERED",
        ),
        (
            "o.to(o_ptr.dtype.element_ty), mask=columns < V)",
            "o.to(o_ptr.dtype.element_ty))",
            "MEM-OUT-OF-BOUNDS",
        ),
        (
            "tl.store(final_ptr + i_bh * K * V + tile, S, mask=inside)",
            (
                "tl.store(initial_ptr + i_bh * K * V + tile, S, mask=inside)\n"
                "    tl.store(final_ptr + i_bh * K * V + tile, S, mask=inside)"
            ),
            "MEM-INPUT-CHANGED",
        ),
        ("total = tl.load(parts_ptr + i_h)", "total = tl.load(total_ptr + i_h)", "MEM-UNWRITTEN-READ"),
        ("dtype=q.dtype, device=q.device)", "dtype=torch.float32, device=q.device)", "CON-RESULT-DTYPE"),
        (
            "return output, (final,), (q, k, v, a, states)",
            "return output, (initial,), (q, k, v, a, states)",
            "CON-ALIAS",
        ),
        (
            "return output, (final,), (q, k, v, a, states)",
            "return output.transpose(1, 2).contiguous().transpose(1, 2), (final,), (q, k, v, a, states)",
            "CON-RESULT-LAYOUT",
        ),
        (
            "    V = v.shape[-1]\n    q, k",
            "    while True:\n        V = v.shape[-1]\n    q, k",
            "CON-WORK-LIMIT",
        ),
        ("    for step in range(T):", "    for step in range(T * 100000000):", "NUM-WORK-LIMIT"),
        (
            "    for t in range(q.shape[1]):\n",
            "    while True:\n        V = v.shape[-1]\n    for t in range(q.shape[1]):\n",
            "CON-WORK-LIMIT",
        ),
        (
            "    (S,) = state\n    decay",
            "    (S,) = state\n    waste = torch.zeros(50000000000)\n    S = S + waste[0]\n    decay",
            "CON-REFERENCE",
        ),
        ("    outputs = []\n", "    outputs = []\n    S = S / 0.0 * 0.0\n", "NUM-ORACLE-NONFINITE"),
        (
            "return torch.stack(outputs, dim=1), (S,)",
            "return torch.stack(outputs, dim=1) * (1.0 + 1e-3), (S,)",
            "NUM-PARALLEL",
        ),
        (
            "return torch.stack(outputs, dim=1), (S,)",
            "return torch.stack(outputs, dim=1), ()",
            "CON-REFERENCE",
        ),
        (
            "S = decay * S + k[:, None] * v[None, :]",
            "S = decay * S + k[:, None] * v[:, None]",
            "NUM-KERNEL-ERROR",
        ),
    ],
)
def test_each_kind_of_wrong_has_its_rule(judge: Judge, honest: str, old: str, new: str, rule: str) -> None:
    verdict = check(judge, edited(honest, old, new))
    assert verdict.admission == "rejected"
    assert rule in rules_of(verdict), [finding.render("m") for finding in verdict.findings]


def test_a_memory_finding_points_at_the_kernels_line(judge: Judge, honest: str) -> None:
    source = edited(
        honest, "o.to(o_ptr.dtype.element_ty), mask=columns < V)", "o.to(o_ptr.dtype.element_ty))"
    )
    found = [finding for finding in check(judge, source).findings if finding.rule == "MEM-OUT-OF-BOUNDS"]
    assert {finding.line for finding in found} == {line_of(source, "o.to(o_ptr.dtype.element_ty))")}


def test_a_counterexample_names_the_element_and_both_values(judge: Judge, honest: str) -> None:
    verdict = check(
        judge, edited(honest, "o = tl.sum(q[:, None] * S, 0)", "o = 2.0 * tl.sum(q[:, None] * S, 0)")
    )
    example = verdict.measured["counterexamples"][0]
    assert example["rule"] == "NUM-OUTPUT"
    assert example["got"] == pytest.approx(2.0 * example["expected"], rel=1e-3)
    assert len(example["index"]) == 4


def test_a_verdict_holds_no_floats_and_no_clock(clean: Verdict) -> None:
    def floats(value: object) -> bool:
        if isinstance(value, dict):
            return any(floats(item) for item in value.values())
        return any(floats(item) for item in value) if isinstance(value, list) else isinstance(value, float)

    document = clean.to_json()
    assert not floats(document)
    assert "seconds" not in str(document)


def test_static_depth_needs_no_server(honest: str) -> None:
    verdict = Judge(None).check(honest.encode(), path="m.py", depth="static")
    assert verdict.admission == "incomplete"
    assert verdict.stages["NUM"] == "skip"


def test_a_machine_that_cannot_confine_is_refused(honest: str) -> None:
    class Weak(Server):
        isolation = "seccomp"

    with closing(Weak()) as weak, pytest.raises(IsolationError, match="expected landlock\\+seccomp"):
        Judge(weak).check(honest.encode(), path="m.py", depth="quick")


def test_a_reference_whose_graph_is_cut_is_found_by_central_differences(judge: Judge, honest: str) -> None:
    mechanism = check_static(honest.encode(), path="m.py").mechanism
    assert mechanism is not None
    cut = replace(
        mechanism,
        source=edited(
            honest,
            "return torch.stack(outputs, dim=1), (S,)",
            "return torch.stack(outputs, dim=1).detach() + 0.0 * q.sum(), (S,)",
        ),
    )
    case = Case(sizes=(("B", 1), ("T", 5), ("H", 2), ("K", 4), ("V", 3)), dtype="float32")
    for source, rules in ((mechanism, set()), (cut, {"GRD-REFERENCE"})):
        with Session(judge.server, source, WORKER_LIMITS) as session:
            assert {finding.rule for finding in check_gradients(session, case, seed=3)} == rules
