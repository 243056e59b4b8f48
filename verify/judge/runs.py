"""Run one case and say what NUM, GRD and MEM find in it.

The kernels' results are compared with the float64 oracle under the judge's tolerance; the memory events of
the instrumented interpreter become findings; the optional `parallel` form is compared like the kernels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from verify.dtypes import Float64
from verify.findings import Finding
from verify.judge.cases import Case
from verify.judge.contract_checks import check_plan, trace_request
from verify.judge.inputs import CaseInputs, Tensor, draw_inputs, perturbed
from verify.judge.random import Stream
from verify.judge.session import Executed, Rejected, Session, oracle_blobs
from verify.judge.tolerance import CAP, OTHER_ROUNDINGS, Comparison, Truth, compare, gradient_terms
from verify.seeds import derive
from verify.source.contract import Spec

Answer = TypeVar("Answer")

PERTURBATIONS = 3
FAR_PERTURBATIONS = 1
"""A run over thousands of tokens has enough windows for one to show how large a change is typically, which no
window is held below; and its definition takes seconds.
"""

POISONS = (0xFF, 0x5A)
"""0xFF bytes are NaN in every float format; 0x5A is a large finite number. Unwritten scratch starts with one
of them.
"""

ADMIT_SHARE = 0.5
"""Admission asks for half the tolerance, so that a later re-check on another machine cannot flip it."""

EVENT_RULES = {
    "out-of-bounds load": "MEM-OUT-OF-BOUNDS",
    "out-of-bounds store": "MEM-OUT-OF-BOUNDS",
    "never-written read": "MEM-UNWRITTEN-READ",
    "outside the view": "MEM-OUTSIDE-VIEW",
    "unknown pointer": "MEM-POINTER",
    "misaligned": "MEM-MISALIGNED",
    "uncovered output": "MEM-UNCOVERED",
    "offset overflow": "MEM-OVERFLOW",
    "missing barrier": "MEM-HAZARD",
    "conflicting lanes": "MEM-CONFLICT",
    "conflict between programs": "MEM-CONFLICT",
    "read-write conflict": "MEM-CONFLICT",
    "atomic over plain store": "MEM-CONFLICT",
    "different bits in a second run": "MEM-CONFLICT",
    "different bits under another poison": "MEM-POISON",
}

"""Events that are no finding are missing: equal values from two programs are benign, and a sum of floats by
atomics is found at its line among the counts.
"""

EXPECTED = {
    "out-of-bounds load": "expected loads inside the tensor that the pointer came from",
    "out-of-bounds store": "expected stores inside the tensor that the pointer came from",
    "never-written read": "expected scratch memory to be written before it is read",
    "outside the view": "expected reads of the tensor's own elements, not of what lies between its rows",
    "unknown pointer": "expected pointers that are arguments plus offsets",
    "misaligned": "expected addresses that are multiples of the element size",
    "uncovered output": "expected every element to be written",
    "offset overflow": "expected offsets that fit their type, widened to int64 before they are multiplied",
    "missing barrier": "expected a barrier before another thread uses what one has stored",
    "conflicting lanes": "expected one value for each element of a store",
    "conflict between programs": "expected programs that do not depend on each other's order",
    "read-write conflict": "expected programs that read nothing that another one writes in the same launch",
    "atomic over plain store": "expected elements that are changed atomically to be changed in no other way",
    "different bits in a second run": "expected the same bits from the same inputs",
    "different bits under another poison": "expected results that do not depend on unwritten memory",
}


@dataclass(kw_only=True)
class Outcome:
    """What one case showed. `ratios` maps each result to error / tolerance; `examples` are counterexamples
    with values.
    """

    case: Case
    findings: list[Finding] = field(default_factory=list)
    ratios: dict[str, float] = field(default_factory=dict)
    examples: list[dict[str, Any]] = field(default_factory=list)
    counters: dict[str, Any] = field(default_factory=dict)


@dataclass(kw_only=True)
class Pending:
    """A case whose workers are busy."""

    outcome: Outcome
    inputs: CaseInputs
    executed: Future[Executed] | None = None
    loose: Future[Executed] | None = None
    evaluated: Future[list[list[Float64]]] | None = None
    eager: Future[list[list[Float64]]] | None = None
    parallel: Future[list[list[Float64]]] | None = None


def start(session: Session, case: Case, seed: int, *, poison: int) -> Pending:
    """Trace the case and hand it to the workers; `finish` collects what they say."""
    spec = session.mechanism.spec
    inputs = draw_inputs(spec, case, seed)
    pending = Pending(outcome=Outcome(case=case), inputs=inputs)
    try:
        request = trace_request(session.mechanism, case, inputs)
        plan = session.trace(request, case.label)
    except Rejected as rejected:
        pending.outcome.findings.append(rejected.finding)
        return pending
    pending.outcome.findings += check_plan(spec, request, plan, case.label)
    if pending.outcome.findings:
        return pending
    pending.executed = session.execute(plan, inputs, case.label, poison=poison)
    if session.interprets:
        way = {"loose": True, "seed": derive(seed, "loose", case.label)}
        pending.loose = session.execute(plan, inputs, case.label, poison=poison, way=way)
    _ask_definitions(session, pending, seed)
    return pending


def _ask_definitions(session: Session, pending: Pending, seed: int) -> None:
    """Evaluate the reference on the case's inputs and near them, in float64, and once in float32, as
    `parallel` where there is one.
    """
    case, inputs = pending.outcome.case, pending.inputs
    # Gradients of thousands of tokens take seconds: they are not asked for where none is compared.
    gradients = not (case.far and case.needs == ())
    used = len(inputs.tensors) + (len(inputs.cotangents) if gradients else 0)
    count = FAR_PERTURBATIONS if case.far else PERTURBATIONS
    near = [blobs[:used] for blobs in variants(inputs, case, seed, count=count)]
    plain = [single(inputs)[:used]]

    def ask(function: str, blobs: Sequence[Sequence[bytes]], dtype: str) -> Future[list[list[Float64]]]:
        return session.evaluate(function, inputs, blobs, case.label, dtype=dtype, gradients=gradients)

    pending.evaluated = ask("reference", near, "float64")
    pending.eager = ask("reference", plain, "float32")
    if session.mechanism.has_parallel and case.dtype == "float32":
        pending.parallel = ask("parallel", plain, "float32")


def finish(session: Session, pending: Pending) -> Outcome:
    """Wait for the workers and compare. Every problem of the case is reported, not only the first."""
    outcome, spec = pending.outcome, session.mechanism.spec
    executed = _answer(outcome, pending.executed)
    loose = _answer(outcome, pending.loose if executed is not None else None)
    evaluated = _answer(outcome, pending.evaluated)
    eager = _answer(outcome, pending.eager)
    parallel = _answer(outcome, pending.parallel)
    if executed is not None:
        outcome.counters = executed.counters
        outcome.findings += memory_findings(executed, outcome.case.label)
    if evaluated is not None and eager is not None and _check_oracle(outcome, evaluated):
        truth = truths(spec, pending.inputs, evaluated, eager[0])
        names = result_names(spec)[: len(truth)]
        if executed is not None:
            _compare_kernels(outcome, spec, executed, dict(zip(names, truth, strict=True)))
        if loose is not None and not outcome.findings:
            _compare_loose(outcome, spec, loose, dict(zip(names, truth, strict=True)))
        if parallel is not None:
            _compare_parallel(outcome, parallel[0], names, truth)
    return outcome


def truths(
    spec: Spec, inputs: CaseInputs, evaluated: Sequence[Sequence[Float64]], eager: Sequence[Float64]
) -> list[Truth]:
    """What every result should be, in the order of `result_names`; without gradients where none was asked
    for.
    """
    count = len(inputs.cotangents)
    pairs = [
        (result, tensor.values)
        for result, tensor in zip(evaluated[0][:count], inputs.cotangents, strict=True)
    ]
    terms = [0.0] * count
    if len(eager) > count:
        entries = zip(inputs.tensors, spec.differentiated, strict=True)
        terms += [gradient_terms(pairs, tensor.values) for tensor, entry in entries if entry.differentiable]
    return [
        Truth(oracle=results[0], perturbed=results[1:], eager=single, terms=size)
        for results, single, size in zip(zip(*evaluated, strict=True), eager, terms, strict=True)
    ]


def _answer(outcome: Outcome, future: Future[Answer] | None) -> Answer | None:
    """A worker's answer; a rejection becomes a finding of the case."""
    if future is None:
        return None
    try:
        return future.result()
    except Rejected as rejected:
        outcome.findings.append(rejected.finding)
        return None


def variants(inputs: CaseInputs, case: Case, seed: int, *, count: int = PERTURBATIONS) -> list[list[bytes]]:
    """The case's values, then `count` copies of them moved by an ulp, as blobs for the oracle."""
    blobs = [oracle_blobs(inputs)]
    for index in range(count):
        moved = [
            perturbed(tensor, Stream(derive(seed, "perturbation", case.label, index, tensor.name)))
            for tensor in (*inputs.tensors, *inputs.cotangents)
        ]
        blobs.append(
            [
                _bytes(values, tensor)
                for values, tensor in zip(moved, (*inputs.tensors, *inputs.cotangents), strict=True)
            ]
        )
    return blobs


def result_names(spec: Spec) -> list[str]:
    """The oracle's results in order: output, states, gradients of differentiable tensors."""
    gradients = [f"d_{entry.name}" for entry in spec.differentiated if entry.differentiable]
    return ["output", *(entry.name for entry in spec.state), *gradients]


def memory_findings(executed: Executed, where: str) -> list[Finding]:
    """MEM: events of the interpreter, results that nothing wrote, changed arguments, damaged guard zones."""
    findings = [
        Finding(
            rule=EVENT_RULES[event["kind"]],
            line=event["line"] or None,
            where=where,
            message=_event_text(event),
        )
        for event in executed.events
        if event["kind"] in EVENT_RULES
    ]
    findings += [
        Finding(
            rule="MEM-FLOAT-ATOMIC",
            line=int(line) or None,
            where=where,
            message=f"{kernel}: floating-point atomics add in any order; expected partial results that "
            "another kernel reduces in a fixed order",
        )
        for kernel, counted in sorted(executed.counters["kernels"].items())
        for line in sorted(counted["float_atomics"])
    ]
    located = {event["buffer"] for event in executed.events if event["kind"] == "uncovered output"}
    findings += [
        Finding(
            rule="MEM-UNCOVERED",
            where=where,
            message=f"{name}: {count} of its bytes were never written; expected every element to be written",
        )
        for name, count in sorted(executed.uncovered.items())
        if count and name not in located
    ]
    findings += [
        Finding(
            rule="MEM-INPUT-CHANGED",
            where=where,
            message=f"{name} was overwritten; expected arguments, and after "
            "forward its results, to stay as they are",
        )
        for name in executed.changed
    ]
    findings += [
        Finding(
            rule="MEM-GUARD",
            where=where,
            message=f"the guard zone around {name} was overwritten; expected writes inside the tensor",
        )
        for name in executed.guards
    ]
    return findings


def _event_text(event: Mapping[str, Any]) -> str:
    """One event as a sentence: what, where in which tensor, by which program, and against which access."""
    through = event.get("argument") or ""
    through = f" through {through}" if through and through != event["buffer"] else ""
    elements = ", ".join(map(str, event.get("offsets") or (event["offset"],)))
    who = "" if event["kind"] == "uncovered output" else f" by program {tuple(event['program'])}"
    other = f", against line {event['other_line']}" if event.get("other_line") else ""
    if other and event.get("other_program") is not None:
        other += f" by program {tuple(event['other_program'])}"
    return (
        f"{event['kernel']}: {event['kind']} of {event['buffer'] or 'an unknown buffer'}{through} at element "
        f"{elements}{who}{other}; {EXPECTED[event['kind']]}"
    )


def single(inputs: CaseInputs) -> list[bytes]:
    """The values in float32, as `parallel` is run."""
    return [
        np.ascontiguousarray(t.values, dtype=np.int64 if t.domain == "index" else np.float32).tobytes()
        for t in (*inputs.tensors, *inputs.cotangents)
    ]


def _bytes(values: Float64, tensor: Tensor) -> bytes:
    return np.ascontiguousarray(values, dtype=np.int64 if tensor.domain == "index" else np.float64).tobytes()


def _check_oracle(outcome: Outcome, evaluated: Sequence[Sequence[Float64]]) -> bool:
    """The reference must be finite on every variant before anything is compared with it."""
    if all(np.isfinite(result).all() for variant in evaluated for result in variant):
        return True
    outcome.findings.append(
        Finding(
            rule="NUM-ORACLE-NONFINITE",
            where=outcome.case.label,
            message="the reference or its gradient is not finite in "
            "float64 on the judge's inputs; expected a definition that is finite over the whole input domain",
        )
    )
    return False


def result_dtypes(spec: Spec, run: str) -> dict[str, str]:
    """The dtype of every result and gradient in a run of dtype `run`."""
    dtypes = {"output": run}
    for entry in (*spec.state, *spec.differentiated):
        dtypes[entry.name] = dtypes[f"d_{entry.name}"] = run if entry.dtype == "io" else entry.dtype
    return dtypes


def _compare_kernels(outcome: Outcome, spec: Spec, executed: Executed, truth: Mapping[str, Truth]) -> None:
    run = outcome.case.dtype
    dtypes = result_dtypes(spec, run)
    for name, true in truth.items():
        if name in executed.results:
            found = compare(executed.results[name], true, run_dtype=run, result_dtype=dtypes[name])
            _judge(outcome, name, found, parallel=False)


def _compare_loose(outcome: Outcome, spec: Spec, loose: Executed, truth: Mapping[str, Truth]) -> None:
    """A kernel whose numbers are right must be right under other roundings, too: it may know the interpreter
    by its last bit. It may be OTHER_ROUNDINGS tolerances off, since honest roundings add up, too.
    """
    run = outcome.case.dtype
    dtypes, allowed = result_dtypes(spec, run), OTHER_ROUNDINGS[run]
    for name, true in truth.items():
        if name in loose.results:
            found = compare(loose.results[name], true, run_dtype=run, result_dtype=dtypes[name])
            if not found.ratio <= allowed:
                outcome.findings.append(_loose_finding(outcome.case, name, found.ratio))


def _loose_finding(case: Case, name: str, ratio: float) -> Finding:
    allowed = OTHER_ROUNDINGS[case.dtype]
    return Finding(
        rule="PRP-ROUNDING",
        where=case.label,
        message=f"{name}: under other roundings that a device may make the kernels differ from the float64 "
        f"reference by {_times(ratio, least=allowed)} the {case.dtype} tolerance; expected at most "
        f"{allowed:g} times it, and results that do not hang on a last bit",
    )


def _compare_parallel(
    outcome: Outcome, got: Sequence[Float64], names: Sequence[str], truth: Sequence[Truth]
) -> None:
    for values, name, true in zip(got, names, truth, strict=True):
        found = compare(values, true, run_dtype="float32", result_dtype="float32")
        _judge(outcome, name, found, parallel=True)


def _judge(outcome: Outcome, name: str, found: Comparison, *, parallel: bool) -> None:
    """Turn one comparison into a ratio and, where it is too large, a finding with its counterexample."""
    case = outcome.case
    outcome.ratios[f"parallel {name}" if parallel else name] = found.ratio
    # Whether rounding destroys a definition is asked at hundreds of tokens. Over thousands, one quotient that
    # nearly vanishes may outweigh all others; what the rest of the result must be is still known.
    if found.sensitivity > CAP[case.dtype] and not case.far:
        outcome.findings.append(
            Finding(
                rule="NUM-ILL-CONDITIONED",
                where=case.label,
                message=f"{name}: the float64 reference amplifies half an ulp "
                f"of {case.dtype} beyond {CAP[case.dtype]:g} of its result; expected a definition that "
                "rounding does not destroy",
            )
        )
        return
    if found.ratio <= ADMIT_SHARE:
        return
    gradient = name.startswith("d_")
    rule = (
        ("GRD-PARALLEL" if gradient else "NUM-PARALLEL")
        if parallel
        else _rule_of(name, found, gradient=gradient)
    )
    who = "the parallel form differs" if parallel else "the kernels differ"
    outcome.findings.append(
        Finding(
            rule=rule,
            where=case.label,
            message=f"{name}: {who} from the float64 reference by {_times(found.ratio)} "
            f"the {case.dtype} tolerance; expected at most {ADMIT_SHARE:g} of it",
        )
    )
    outcome.examples.append(
        {
            "rule": rule,
            "result": name,
            "case": case.label,
            "index": list(found.where or ()),
            "expected": found.expected,
            "got": found.got,
            "ratio": found.ratio,
        }
    )


def _rule_of(name: str, found: Comparison, *, gradient: bool) -> str:
    if np.isinf(found.ratio):
        return "GRD-NONFINITE" if gradient else "NUM-NONFINITE"
    if gradient:
        return "GRD-VALUE"
    return "NUM-OUTPUT" if name == "output" else "NUM-STATE"


def _times(ratio: float, *, least: float = 2.0) -> str:
    """A coarse size that does not change with the last bits of a machine's arithmetic.

    `least` is the smallest bound that is named.
    """
    if np.isinf(ratio) or np.isnan(ratio):
        return "a non-finite value against"
    for bound in (*(size for size in (1e6, 1e3, 100.0, 10.0) if size > least), least):
        if ratio >= bound:
            return f"more than {bound:g} times"
    return "about"
