"""One case run several ways: the same bits, whatever lay in scratch memory, whichever program ran first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from verify.findings import Finding
from verify.judge.cases import Case
from verify.judge.experiment import Experiment
from verify.judge.runs import POISONS
from verify.judge.session import Rejected, Session

_WAYS: tuple[tuple[str, int, Mapping[str, Any], str, str], ...] = (
    ("MEM-POISON", POISONS[1], {}, "on what unwritten memory held", "only depend on the inputs"),
    ("PRP-DETERMINISTIC", POISONS[0], {}, "on the run", "are the same in every run"),
    ("MEM-ORDER", POISONS[0], {"order": "reverse"}, "on the order of programs", "do not depend on it"),
    ("MEM-ORDER", POISONS[0], {"order": "shuffled"}, "on the order of programs", "do not depend on it"),
)


def check_repeats(session: Session, case: Case, seed: int) -> list[Finding]:
    """Run the case plainly, then with another poison, again, backwards and shuffled, and compare the bits."""
    try:
        experiment = Experiment.of(session, case, seed)
        inputs, plan = experiment.inputs, experiment.plan
        plain = session.execute(plan, inputs, case.label, poison=POISONS[0])
        others = [
            session.execute(plan, inputs, case.label, poison=poison, way={"seed": seed, **way})
            for _, poison, way, _, _ in _WAYS
        ]
        first = plain.result().raw
        runs = [other.result().raw for other in others]
    except Rejected as rejected:
        return [rejected.finding]
    findings: dict[str, Finding] = {}
    for (rule, _, _, depends, expected), raw in zip(_WAYS, runs, strict=True):
        changed = sorted(name for name in first if first[name] != raw[name])
        if changed and rule not in findings:
            message = f"{', '.join(changed)}: the bits depend {depends}; expected results that {expected}"
            findings[rule] = Finding(rule=rule, where=case.label, message=message)
    return list(findings.values())
