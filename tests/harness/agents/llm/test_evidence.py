from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.agents.llm.evidence import MAX_EVIDENCE, failures, fitted, numbers, rejection, tried
from tests.harness.agents.llm.outcomes import EXAMPLE, outcome
from tests.harness.agents.llm.scripted_model import SOURCE, UNGATED
from verify.findings import Finding
from verify.rules import RULES
from verify.source.lock import DEFAULT_TEMPLATES

RELEASED = {
    path.stem: path.read_text(encoding="utf-8")
    for path in sorted((DEFAULT_TEMPLATES / "linear_state" / "v1").glob("[a-z]*.py"))
}
WORDS = ["output", "d_q", "d_k", "S", "q", "of the reference", "of the kernels", ":", "which", "wrong" * 300]
FINDINGS = st.builds(
    Finding,
    rule=st.sampled_from(sorted(RULES)),
    message=st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join),
    line=st.none() | st.integers(-1, 500),
    where=st.none()
    | st.sampled_from(["B=1 T=3 H=1 K=7 V=5, float32", "B=2 T=33 H=1 K=7 V=5, float32", "x" * 999]),
)


def test_a_rejection_tells_rules_counterexample_lines_at_fault_and_what_the_rule_asks() -> None:
    line = SOURCE.split("\n").index("    y = torch.exp(x)") + 1
    finding = Finding(rule="GRD-VALUE", message="d_k differs", line=line, where="T=3 float32")
    text = rejection(outcome(0, "rejected", findings=(finding,), counterexample=EXAMPLE), {})
    assert text.startswith(
        "Rejected by GRD-VALUE: 1 finding(s).\nSmallest counterexample: d_k[0, 1] is 0.754, "
    )
    assert "(9.1e+02 x tolerance), at B=1 T=3 H=1 K=7 V=5, float32" in text
    assert "GRD-VALUE: d_k differs [T=3 float32]" in text
    assert f">{line:5} |     y = torch.exp(x)" in text
    assert f" {line + 1:5} |     return y + 1.0" in text
    assert RULES["GRD-VALUE"].fix in text


@pytest.mark.parametrize("count", [1, 40, 4000])
@pytest.mark.parametrize("message", ["short", "long " * 1000])
def test_evidence_is_never_longer_than_its_limit_and_says_what_it_left_out(count: int, message: str) -> None:
    rules = sorted(RULES)
    findings = tuple(
        Finding(rule=rules[n % len(rules)], message=f"{n} {message}", line=n + 1, where="x" * 999)
        for n in range(count)
    )
    wide = "\n".join(["y" * 5000] * 50)
    text = rejection(outcome(0, "rejected", findings=findings, counterexample=EXAMPLE, source=wide), {})
    assert len(text) <= MAX_EVIDENCE
    assert "Smallest counterexample" in text
    assert ("that did not fit." in text) == (count > 1)


@settings(max_examples=50)
@given(
    findings=st.lists(FINDINGS, min_size=1, max_size=30),
    source=st.sampled_from(sorted(RELEASED)).map(RELEASED.__getitem__),
    cut=st.integers(0, 20_000),
    passing=st.lists(st.sampled_from(sorted(RELEASED)), max_size=3),
)
def test_whatever_was_found_the_evidence_fits_and_marks_lines_of_the_file(
    findings: list[Finding], source: str, cut: int, passing: list[str]
) -> None:
    """Also of a file that ends in the middle of a statement."""
    source = source[: -cut or None]
    found = outcome(0, "rejected", findings=tuple(findings), counterexample=EXAMPLE, source=source)
    text = rejection(found, {name: RELEASED[name] for name in passing})
    assert len(text) <= MAX_EVIDENCE
    assert "Smallest counterexample" in text
    lines = source.split("\n")
    shown = [line[1:].split(" | ", 1) for line in text.split("\n") if line.startswith(">")]
    assert all(lines[int(number) - 1] == code for number, code in shown)


def test_of_each_rule_the_smallest_case_is_told_first() -> None:
    cases = ["B=2 T=65 H=2 D=20, float32", "B=1 T=3 H=1 D=1, float32", "B=1 T=3 H=1 D=2, float32"]
    found = tuple(Finding(rule="MEM-OVERFLOW", message=f"at {case}", where=case) for case in cases)
    text = rejection(outcome(0, "rejected", findings=found), {})
    assert text.index(f"at {cases[1]}") < text.index(RULES["MEM-OVERFLOW"].fix) < text.index(f"at {cases[0]}")


@pytest.mark.parametrize("line", [None, 0, 10_000])
def test_a_finding_without_a_line_of_the_file_shows_none(line: int | None) -> None:
    finding = Finding(rule="NUM-OUTPUT", message="wrong", line=line)
    assert " | " not in rejection(outcome(0, "rejected", findings=(finding,)), {})


def test_pieces_are_kept_from_the_first_on() -> None:
    text = fitted(["a" * 100, "b" * 100, "c"], 200)
    assert text == "a" * 100 + "\n... and 2 more that did not fit."
    assert fitted(["a", "b"], 200) == "a\nb"


def test_numbers_are_told_with_three_digits() -> None:
    assert numbers(outcome(0, numbers={"most registers": 127.0, "error": 0.30044})) == (
        "- most registers: 127\n- error: 0.3"
    )
    assert "nothing was measured" in numbers(outcome(0))


def test_what_was_tried_is_told_for_this_skeleton_once_and_the_newest_only() -> None:
    rejected = outcome(30, "rejected", findings=(Finding(rule="GRD-VALUE", message=""),))
    others = [outcome(40, skeleton="linear_state/v1/other"), outcome(41, slots={})]
    text = tried([*map(outcome, range(30)), rejected, *others], UNGATED.name)
    assert text.split("\n") == [f"- K / {n}: clean" for n in range(19, 30)] + ["- K / 30: rejected GRD-VALUE"]
    assert tried([], UNGATED.name) == "- nothing yet"


def test_failures_are_those_of_the_same_parent_and_skeleton() -> None:
    parent = outcome(3)
    outcomes = [
        outcome(4, "unusable", problem="first", parent=3),
        outcome(5, "unusable", problem="of another", parent=2),
        outcome(6, "unusable", problem="of none"),
        outcome(7, "unusable", problem="elsewhere", parent=3, skeleton="linear_state/v1/other"),
        outcome(8, "unusable", problem="second", parent=3),
    ]
    assert failures(outcomes, parent, UNGATED.name) == "- first\n- second"
    assert failures(outcomes, None, UNGATED.name) == "- of none"
    assert failures([], None, UNGATED.name) == ""
