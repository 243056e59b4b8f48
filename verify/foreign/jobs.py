"""The work on one spec as a list of jobs, each of which can fail, hang or crash without the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from verify.foreign import compiling, throughput
from verify.foreign.cases import Outcome, judge_case, judge_order, label_of
from verify.foreign.draws import draw_tensors
from verify.foreign.properties import Question, ask, questions
from verify.foreign.reference import check_gradients, known
from verify.foreign.spec import Case, Depth, Spec
from verify.triton_cpu.compiler.targets import TARGETS, Target

Kind = Literal["reference", "case", "order", "tuning", "property", "compile", "throughput"]


@dataclass(frozen=True, kw_only=True)
class Job:
    """One piece of work; `label` is what the parent says about it."""

    kind: Kind
    label: str
    case: Case | None = None
    dtype: str = ""
    question: Question | None = None
    target: Target = "sm_90"


def jobs_of(spec: Spec, depth: Depth) -> list[Job]:
    """All jobs at a depth: `quick` runs the quick cases once each; `full` everything, in every dtype."""
    chosen = [case for case in spec.cases if depth == "full" or case.depth == "quick"]
    found = [Job(kind="reference", label=f"reference, {chosen[0].name}", case=chosen[0])] if chosen else []
    for case in chosen:
        dtypes = spec.case_dtypes(case)
        found += [
            Job(kind="case", label=label_of(case, dtype), case=case, dtype=dtype)
            for dtype in (dtypes if depth == "full" else dtypes[:1])
        ]
    for case in [case for case in chosen if case.depth == "quick"]:
        dtype = spec.case_dtypes(case)[0]
        found.append(Job(kind="order", label=f"order, {label_of(case, dtype)}", case=case, dtype=dtype))
        if depth == "full":  # the first configuration ran above; here no autotuner takes the same
            label = f"last configuration, {label_of(case, dtype)}"
            found.append(Job(kind="tuning", label=label, case=case, dtype=dtype))
    asked = questions(spec)
    found += [
        Job(kind="property", label=question.label, question=question)
        for question in (asked if depth == "full" else asked[:1])
    ]
    if depth == "full" and spec.compile_case is not None:
        found += [
            Job(kind="compile", label=f"compile, {target}", case=spec.compile_case, target=target)
            for target in TARGETS
        ]
        found.append(Job(kind="throughput", label="throughput", case=spec.compile_case))
    return found


def do(spec: Spec, job: Job, alive: Callable[[], None] = lambda: None) -> tuple[Outcome, dict[str, Any]]:
    """Do one job: what it showed, and what was measured. `alive` is called while a long one gets on.

    Raises BrokenSpec.
    """
    match job:
        case Job(kind="property", question=Question() as question):
            return ask(spec, question), {}
        case Job(kind="reference", case=Case() as case):
            dtype = spec.case_dtypes(case)[0]
            tensors = draw_tensors(spec, case, dtype)
            check_gradients(spec, case, tensors, known(spec, case, tensors, dtype).cotangents)
            return Outcome(), {}
        case Job(kind="case", case=Case() as case):
            return judge_case(spec, case, job.dtype), {}
        case Job(kind="tuning", case=Case() as case):
            return judge_case(spec, case, job.dtype, policy="last"), {}
        case Job(kind="order", case=Case() as case):
            return judge_order(spec, case, job.dtype), {}
        case Job(kind="compile", case=Case() as case):
            return compiling.compile_target(spec, case, job.target, alive)
        case Job(kind="throughput", case=Case() as case):
            return throughput.estimate(spec, case)
    raise AssertionError(f"a job without its case: {job.label}")
