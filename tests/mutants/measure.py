"""How far a mechanism's results are from the reference, without stopping at the first failure."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import numpy as np

from verify.findings import Finding
from verify.judge.cases import Case, Group, enumerate_groups
from verify.judge.contract_checks import trace_request
from verify.judge.inputs import draw_inputs
from verify.judge.judge import WORKER_LIMITS
from verify.judge.runs import POISONS, Outcome, finish, start
from verify.judge.session import Rejected, Session, oracle_blobs
from verify.sandbox.client import Server
from verify.source.static import Mechanism, check_static

NAIVE_SEEDS = 5
NAIVE_TOLERANCE = 1e-2
NAIVE_SIZES = {"B": 2, "T": 128, "H": 2, "K": 64, "V": 64, "D": 64}


@dataclass(kw_only=True)
class Measurement:
    """What the cases show: findings, the largest error / tolerance by dtype, and a naive check's opinion."""

    findings: list[Finding] = field(default_factory=list)
    ratios: dict[str, float] = field(default_factory=dict)
    naive_passes: bool | None = None

    @property
    def stages(self) -> set[str]:
        return {finding.stage for finding in self.findings}

    def add(self, outcome: Outcome) -> None:
        self.findings += outcome.findings
        dtype = outcome.case.dtype
        self.ratios[dtype] = max([self.ratios.get(dtype, 0.0), *outcome.ratios.values()])


def load(source: str) -> Mechanism:
    """The mechanism, past the static stages. Raises ValueError where they refuse it: its author's mistake."""
    static = check_static(source.encode(), path="mutant")
    if static.mechanism is None:
        raise ValueError("; ".join(finding.render("mutant") for finding in static.findings))
    return static.mechanism


def measure(
    server: Server,
    source: str,
    *,
    seed: int = 0,
    group: str | None = None,
    until: str | None = None,
    naive: bool = True,
) -> Measurement:
    """Run the cases of depth quick, or one named group of depth full, and the naive check beside them.

    With `until`, run one case after the other and stop at the first in which that stage has a finding.
    """
    mechanism = load(source)
    found = Measurement()
    with Session(server, mechanism, WORKER_LIMITS) as session:
        for current in _groups(mechanism, seed, group):
            cases = list(zip(current.cases, itertools.cycle(POISONS), strict=False))
            for batch in [cases] if until is None else [[one] for one in cases]:
                pending = [start(session, case, seed, poison=poison) for case, poison in batch]
                for item in pending:
                    found.add(finish(session, item))
                if until in found.stages:
                    return found
        if naive:
            found.naive_passes = naive_check(session)
    return found


def _groups(mechanism: Mechanism, seed: int, name: str | None) -> tuple[Group, ...]:
    if name is None:
        return enumerate_groups(mechanism.spec, mechanism.tuning, seed=seed, depth="quick")
    groups = enumerate_groups(mechanism.spec, mechanism.tuning, seed=seed, depth="full")
    chosen = tuple(one for one in groups if one.name == name)
    if not chosen:
        raise ValueError(f"expected one of the groups {', '.join(one.name for one in groups)}, got {name}")
    return chosen


def naive_check(session: Session) -> bool:
    """What many verifiers do: one nice shape, five seeds, `allclose` at 1e-2, forward only."""
    spec = session.mechanism.spec
    sizes = tuple((name, NAIVE_SIZES.get(name, 2)) for name in spec.free_dims())
    for seed in range(NAIVE_SEEDS):
        case = Case(sizes=sizes, dtype="float32", state="zero", needs=(), draw=seed)
        inputs = draw_inputs(spec, case, seed)
        try:
            plan = session.trace(trace_request(session.mechanism, case, inputs), case.label)
            got = session.execute(plan, inputs, case.label, poison=0).result().results["output"]
            blobs = [oracle_blobs(inputs)]
            answer = session.evaluate("reference", inputs, blobs, case.label, gradients=False)
            expected = answer.result()[0][0]
        except Rejected:
            return False
        if not np.allclose(got, expected, rtol=NAIVE_TOLERANCE, atol=NAIVE_TOLERANCE):
            return False
    return True
