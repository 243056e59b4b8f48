"""Run one case of a mechanism again, apart from any verdict, and keep what the judge throws away.

The seed is the verdict's, so a case has the inputs that it had there: a finding can be looked at, shrunk and
drawn.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from verify.dtypes import Float64
from verify.error_map import ErrorMap, error_map
from verify.findings import Finding
from verify.judge.case_text import fit_case, parse_case
from verify.judge.cases import Case
from verify.judge.judge import WORKER_LIMITS, IsolationError, verdict_seed
from verify.judge.runs import POISONS, Outcome, Pending, finish, result_dtypes, result_names, start, truths
from verify.judge.session import Session
from verify.judge.shrink import RUNS, Shrunk, shrink
from verify.judge.tolerance import tolerance_map
from verify.judge.verdict import FULL_ISOLATION
from verify.sandbox.client import Server
from verify.source.contract import Spec
from verify.source.static import Mechanism


@dataclass(frozen=True, kw_only=True)
class Failure:
    """What must still fail in a case: a rule about a result, like NUM-OUTPUT about "output", or a rule of MEM
    at a line, which has no result and no number.
    """

    rule: str
    result: str
    case: Case
    line: int | None = None

    @classmethod
    def of(cls, example: dict[str, Any]) -> Failure:
        """The failure that a counterexample of a verdict tells of (`Outcome.examples`)."""
        return cls(rule=example["rule"], result=example["result"], case=parse_case(example["case"]))

    @classmethod
    def at(cls, finding: Finding) -> Failure | None:
        """The failure that a finding of MEM tells of; None for one that is about no single case."""
        if finding.stage != "MEM" or finding.where is None:
            return None
        try:
            case = parse_case(finding.where)
        except ValueError:  # where it was seen is no case but, say, an order of programs
            return None
        return cls(rule=finding.rule, result="", case=case, line=finding.line)

    def among(self, findings: Iterable[Finding]) -> Finding | None:
        """The first finding that tells of this failure."""
        if self.result:
            return None
        same = (finding for finding in findings if (finding.rule, finding.line) == (self.rule, self.line))
        return next(same, None)


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """One case that ran once more. `example` is the counterexample that was asked for or, if it was not, the
    worst one; None where every number is right. `finding` is the access that was asked for. `drawing` is the
    error map of that example's result, or of the result nearest to its tolerance; None where the run ended
    before numbers could be compared.
    """

    outcome: Outcome
    poison: int
    example: dict[str, Any] | None
    drawing: ErrorMap | None
    finding: Finding | None = None

    @property
    def failed(self) -> bool:
        """Whether there is a counterexample, or the access that was asked for."""
        return self.example is not None or self.finding is not None


@contextmanager
def open_session(mechanism: Mechanism, *, require_isolation: bool = True) -> Iterator[Session]:
    """A warm server and confined workers for one mechanism.

    Raises IsolationError where the machine cannot confine fully and that is required.
    """
    with closing(Server()) as server:
        if require_isolation and server.isolation != FULL_ISOLATION:
            raise IsolationError(
                f"expected {FULL_ISOLATION} on this machine, got {server.isolation}; pass "
                "--allow-weak-isolation only for sources you trust"
            )
        with Session(server, mechanism, WORKER_LIMITS) as session:
            yield session


def replay(
    session: Session, case: Case, *, seed: int | None = None, wanted: Failure | None = None
) -> Replayed:
    """Run a case with the inputs it has in a verdict of this source (`seed` None), or under another seed.

    Scratch memory is filled as the judge fills it, first with one pattern and, unless the case fails, with
    the other: a failure that depends on it shows as well. Raises ValueError where the mechanism has no such
    case.
    """
    case = fit_case(case, session.mechanism)
    seed = verdict_seed(session.mechanism.source_hash) if seed is None else seed
    for poison in POISONS:
        pending = start(session, case, seed, poison=poison)
        outcome = finish(session, pending)
        example = _chosen(outcome, wanted)
        finding = None if wanted is None else wanted.among(outcome.findings)
        if example is not None or finding is not None or (wanted is None and outcome.findings):
            break
    return Replayed(
        outcome=outcome,
        poison=poison,
        example=example,
        drawing=_drawing(session.mechanism.spec, pending, outcome, example),
        finding=finding,
    )


def shrink_failure(
    session: Session, failure: Failure, *, seed: int | None = None, runs: int = RUNS
) -> tuple[Replayed, Replayed, Shrunk]:
    """The failure's own case again, and the smallest found in which its rule still fires for its result, or
    at its line.

    Raises ValueError where the failure does not show again in its own case.
    """
    seed = verdict_seed(session.mechanism.source_hash) if seed is None else seed
    first = replay(session, failure.case, seed=seed, wanted=failure)
    if not first.failed:
        what = f"for {failure.result}" if failure.result else f"at line {failure.line}"
        raise ValueError(
            f"expected {failure.rule} {what} again at {failure.case.label}, got "
            f"{', '.join(sorted({f.rule for f in first.outcome.findings})) or 'no finding'}"
        )

    def fails(case: Case) -> bool:
        outcome = finish(session, start(session, case, seed, poison=first.poison))
        return _chosen(outcome, failure) is not None or failure.among(outcome.findings) is not None

    case = fit_case(failure.case, session.mechanism)
    shrunk = shrink(case, session.mechanism.spec, fails, runs=runs)
    last = first if shrunk.case == case else replay(session, shrunk.case, seed=seed, wanted=failure)
    return first, last, shrunk


def _chosen(outcome: Outcome, wanted: Failure | None) -> dict[str, Any] | None:
    """The counterexample of the wanted failure, or the worst of any."""
    examples = [
        example
        for example in outcome.examples
        if wanted is None or (example["rule"], example["result"]) == (wanted.rule, wanted.result)
    ]
    return max(examples, key=lambda example: float(example["ratio"]), default=None)


def _drawing(
    spec: Spec, pending: Pending, outcome: Outcome, example: dict[str, Any] | None
) -> ErrorMap | None:
    """The error map of the counterexample's result, or of the worst result there is."""
    if not outcome.ratios:
        return None
    if example is None:
        label = max(outcome.ratios, key=lambda name: outcome.ratios[name])
        parallel, name = label.startswith("parallel "), label.removeprefix("parallel ")
    else:
        parallel, name = example["rule"].endswith("-PARALLEL"), str(example["result"])
    assert pending.evaluated is not None
    assert pending.eager is not None
    names = result_names(spec)
    truth = truths(spec, pending.inputs, pending.evaluated.result(), pending.eager.result()[0])
    position = names.index(name)
    true = truth[position]
    got = _got(pending, name, position, parallel=parallel)
    if got.shape != true.oracle.shape:
        return None
    run = outcome.case.dtype
    result_dtype = "float32" if parallel else result_dtypes(spec, run)[name]
    allowed = tolerance_map(true, run_dtype="float32" if parallel else run, result_dtype=result_dtype)
    title = f"{name} of parallel" if parallel else name
    worst = None if example is None else example["index"]
    return error_map(title, _dims(spec, name), got, true.oracle, allowed, worst=worst)


def _got(pending: Pending, name: str, position: int, *, parallel: bool) -> Float64:
    """What the kernels, or the parallel form, said: the futures are done since `finish`."""
    if parallel:
        assert pending.parallel is not None
        return pending.parallel.result()[0][position]
    assert pending.executed is not None
    return pending.executed.result().results[name]


def _dims(spec: Spec, name: str) -> tuple[str, ...]:
    """The names of a result's axes."""
    if name == "output":
        return spec.output.dims
    entries = {entry.name: entry.dims for entry in spec.state}
    entries |= {f"d_{entry.name}": entry.dims for entry in spec.differentiated}
    return entries[name]
