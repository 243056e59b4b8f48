"""MEM on a device, beside guard zones and poison: a case under compute-sanitizer, where it is present."""

from __future__ import annotations

from verify.findings import Finding
from verify.judge.cases import Case
from verify.judge.contract_checks import trace_request
from verify.judge.inputs import draw_inputs
from verify.judge.session import Rejected, Session

WORDS = {"read": "load", "write": "store", "atomic": "atomic"}


def check_memory(session: Session, case: Case, seed: int) -> tuple[list[Finding], str]:
    """What the checker finds in one case, and a word for the record: clean, findings, or why neither."""
    inputs = draw_inputs(session.mechanism.spec, case, seed)
    try:
        plan = session.trace(trace_request(session.mechanism, case, inputs), case.label)
        answer = session.memcheck(plan, inputs, case.label)
    except Rejected as rejected:
        return [rejected.finding], "no answer"
    if answer["problem"] is not None:
        return [], f"not checked: {answer['problem']}"
    findings = [
        Finding(
            rule="MEM-OUT-OF-BOUNDS",
            line=access["line"] or None,
            where=case.label,
            message=f"{access['kernel']}: compute-sanitizer reports an invalid {WORDS[access['what']]}; "
            "expected accesses inside the tensor that the pointer came from",
        )
        for access in answer["accesses"]
    ]
    return findings, "findings" if findings else "clean"
