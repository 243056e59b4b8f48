"""CON on plans: what a plan's results must look like before anything runs it."""

from __future__ import annotations

from collections.abc import Sequence

from verify.findings import Finding
from verify.judge.cases import Case
from verify.judge.inputs import CaseInputs
from verify.plan.format import Launch, Plan, TensorRef
from verify.plan.request import Layout, TraceRequest
from verify.source.contract import Spec, TensorSpec
from verify.source.static import Mechanism


def trace_request(mechanism: Mechanism, case: Case, inputs: CaseInputs) -> TraceRequest:
    """What the wrappers are traced for in this case."""
    spec = mechanism.spec
    wanted = {entry.name for entry in spec.differentiated if entry.differentiable}
    asked = wanted if case.needs is None else wanted & set(case.needs)
    return TraceRequest(
        inputs=tuple((tensor.name, tensor.layout) for tensor in inputs.inputs),
        params=tuple((tensor.name, tensor.layout) for tensor in inputs.params),
        state=tuple((tensor.name, tensor.layout) for tensor in inputs.state),
        d_output=inputs.d_output.layout,
        d_state=tuple(tensor.layout for tensor in inputs.d_state),
        needs=tuple(entry.name in asked for entry in spec.differentiated),
        tuning=mechanism.tuning[case.tuning],
        constants=spec.constants,
    )


def dense_request(mechanism: Mechanism, case: Case) -> TraceRequest:
    """The case with dense tensors and every gradient, without drawing data: for compiling and for
    estimates.
    """
    spec = mechanism.spec
    sizes = spec.resolve(case.size_map)

    def layout(entry: TensorSpec) -> Layout:
        return Layout.dense(entry.shape(sizes), case.dtype if entry.dtype == "io" else entry.dtype)

    return TraceRequest(
        inputs=tuple((entry.name, layout(entry)) for entry in spec.inputs),
        params=tuple((entry.name, layout(entry)) for entry in spec.params),
        state=tuple((entry.name, layout(entry)) for entry in spec.state),
        d_output=layout(spec.output),
        d_state=tuple(layout(entry) for entry in spec.state),
        needs=tuple(entry.differentiable for entry in spec.differentiated),
        tuning=mechanism.tuning[case.tuning],
        constants=spec.constants,
    )


def check_plan(spec: Spec, request: TraceRequest, plan: Plan, where: str) -> list[Finding]:
    """Shapes, dtypes, layout and aliasing of every result; that kernels are launched; that needed gradients
    exist.
    """
    expected = expected_results(spec, request)
    findings = _missing(spec, request, plan, where)
    states, gradients = [entry.name for entry in spec.state], [entry.name for entry in spec.differentiated]
    results = plan.results(states, gradients)
    for name, ref in results:
        findings += _check_result(name, ref, expected[name], plan, where)
    findings += _overlaps(results, where)
    if not any(isinstance(step, Launch) for step in plan.forward):
        findings.append(
            Finding(
                rule="CON-NO-KERNEL",
                where=where,
                message="forward launches no kernel; expected the "
                "work to be done by @triton.jit kernels of this file",
            )
        )
    if (
        request.needs is not None
        and any(request.needs)
        and not any(isinstance(s, Launch) for s in plan.backward)
    ):
        findings.append(
            Finding(
                rule="CON-NO-KERNEL",
                where=where,
                message="backward launches no kernel; expected the "
                "gradients to be computed by @triton.jit kernels of this file",
            )
        )
    return findings


def expected_results(spec: Spec, request: TraceRequest) -> dict[str, Layout]:
    """By result name: the dense layout (shape and dtype) that the contract asks for."""
    expected = {"output": Layout.dense(request.d_output.shape, request.d_output.dtype)}
    for entry, layout in zip(spec.state, request.d_state, strict=True):
        expected[entry.name] = Layout.dense(layout.shape, layout.dtype)
    for name, layout in (*request.inputs, *request.params, *request.state):
        expected[f"d_{name}"] = Layout.dense(layout.shape, layout.dtype)
    return expected


def _missing(spec: Spec, request: TraceRequest, plan: Plan, where: str) -> list[Finding]:
    if request.needs is None or plan.gradients is None:
        return []
    return [
        Finding(
            rule="GRD-MISSING",
            where=where,
            message=f"backward returns None for d_{entry.name}, which is needed; "
            "expected a gradient, None only where `needs` is false",
        )
        for entry, need, ref in zip(spec.differentiated, request.needs, plan.gradients, strict=True)
        if need and ref is None
    ]


def _check_result(name: str, ref: TensorRef, expected: Layout, plan: Plan, where: str) -> list[Finding]:
    findings = []
    if ref.shape != expected.shape:
        findings.append(
            Finding(
                rule="CON-RESULT-SHAPE",
                where=where,
                message=f"{name}: expected shape {expected.shape}, got {ref.shape}",
            )
        )
    if ref.dtype != expected.dtype:
        findings.append(
            Finding(
                rule="CON-RESULT-DTYPE",
                where=where,
                message=f"{name}: expected dtype {expected.dtype}, got {ref.dtype}",
            )
        )
    if not ref.contiguous:
        findings.append(
            Finding(
                rule="CON-RESULT-LAYOUT",
                where=where,
                message=f"{name}: expected a contiguous tensor, got strides {ref.strides}",
            )
        )
    argument = plan.buffers[ref.buffer].argument
    if argument is not None:
        findings.append(
            Finding(
                rule="CON-ALIAS",
                where=where,
                message=f"{name} is a view of the argument {argument}; "
                "expected memory of its own. Copy it with a kernel or .clone().",
            )
        )
    return findings


def _overlaps(results: Sequence[tuple[str, TensorRef]], where: str) -> list[Finding]:
    findings = []
    for index, (name, ref) in enumerate(results):
        for other, second in results[:index]:
            (low, high), (start, stop) = ref.span(), second.span()
            if ref.buffer == second.buffer and low < stop and start < high:
                findings.append(
                    Finding(
                        rule="CON-ALIAS",
                        where=where,
                        message=f"{name} and {other} share memory; expected disjoint results",
                    )
                )
    return findings
