"""SUB: the kernels do the work, every tensor matters, and the work is neither trivial nor somebody else's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np

from verify.dtypes import Float64
from verify.findings import Finding
from verify.judge.behaviour import same_as_known
from verify.judge.cases import Case, Planner
from verify.judge.experiment import Experiment, Results, rms
from verify.judge.inputs import CaseInputs, replaced
from verify.judge.random import Stream
from verify.judge.session import Rejected, Session
from verify.sandbox.client import Limits, Server
from verify.seeds import derive
from verify.source.contract import TIME, TensorSpec
from verify.source.identity import fingerprint
from verify.source.lock import DEFAULT_TEMPLATES
from verify.source.static import Mechanism, check_static

INFLUENCE = 1e-3
"""The least relative change of a result that counts as influence; what is below it could be left out."""

TRIVIAL = 1e-2
"""A fit of the output by copies, shifts and averages of one input must leave more than this of it."""

LINEAR = 1e-9

RESPONSE = 0.1
"""How far the kernels' response to another input may be from the reference's, relative to it."""


def check_substance(session: Session, seed: int, *, depth: Literal["quick", "full"]) -> list[Finding]:
    """Every question but the known mechanisms. Raises `Rejected` where a worker's answer is a finding."""
    spec = session.mechanism.spec
    planner = Planner(
        spec=spec, tuning=session.mechanism.tuning, stream=Stream(derive(seed, "substance"))
    )
    sizes = planner.sizes(B=1, T=2 * planner.block + 3, H=2, K=16, V=12, D=16)
    experiment = Experiment.of(session, Case(sizes=sizes, dtype="float32", draw=201), seed)
    findings = _idle_kernels(experiment)
    before = experiment.oracle(experiment.inputs)
    after = {entry.name: _with_other(experiment, entry) for entry in spec.differentiated}
    moved = {name: experiment.oracle(inputs) for name, inputs in after.items()}
    findings += _idle_tensors(experiment, before, moved)
    findings += _no_mixing(experiment, before)
    findings += _trivial(experiment, before, moved)
    if depth == "full" and not findings:
        findings += _kernel_responses(experiment, before, after, moved)
    return findings


def check_known(
    server: Server, session: Session, limits: Limits, *, templates: Path | None = None
) -> list[Finding]:
    """Is the candidate a released mechanism under another name: the same text, or the same outputs?"""
    mechanism = session.mechanism
    for name, known in known_mechanisms(templates or DEFAULT_TEMPLATES):
        if known.source_hash == mechanism.source_hash or known.spec.causal != mechanism.spec.causal:
            continue
        same = mechanism.skeleton is None and fingerprint(known.source) == fingerprint(mechanism.source)
        if not same and _comparable(mechanism, known):
            with Session(server, known, limits, roles=("oracle",)) as other:
                same = same_as_known(session, other)
        if same:
            return [
                Finding(
                    rule="SUB-KNOWN",
                    message=f"it computes what {name} computes; expected a mechanism of its own. "
                    f"Use {name}, or change what is computed.",
                )
            ]
    return []


@cache
def known_mechanisms(templates: Path) -> tuple[tuple[str, Mechanism], ...]:
    """Every released skeleton and example under `templates`, by its path from there."""
    return tuple(_read_known(templates))


def _read_known(templates: Path) -> Iterator[tuple[str, Mechanism]]:
    for path in sorted(templates.glob("*/v*/[a-z]*.py")):
        mechanism = check_static(path.read_bytes(), path=str(path), templates=templates).mechanism
        if mechanism is not None:
            yield path.relative_to(templates).with_suffix("").as_posix(), mechanism


def _comparable(first: Mechanism, second: Mechanism) -> bool:
    """Same number of inputs and params with the same domains: worth running."""

    def domains(entries: Sequence[TensorSpec]) -> list[str]:
        return sorted(entry.domain for entry in entries)

    return domains(first.spec.inputs) == domains(second.spec.inputs) and domains(
        first.spec.params
    ) == domains(second.spec.params)


# -- kernels -------------------------------------------------------------------------------------------------


def _idle_kernels(experiment: Experiment) -> list[Finding]:
    """Leave out the launches of one kernel at a time: some result must change."""
    plain = experiment.kernels(experiment.inputs).result().raw
    findings = []
    for name in dict.fromkeys(launch.kernel for launch in experiment.plan.launches):
        try:
            without = experiment.kernels(experiment.inputs, {"omit": name}).result().raw
        except Rejected:
            continue  # the others cannot even run without it
        if without == plain:
            findings.append(
                Finding(
                    rule="SUB-KERNEL-IDLE",
                    line=experiment.session.mechanism.functions.get(name),
                    where=experiment.case.label,
                    message=f"{name}: every result has the same bytes when it is not launched; expected "
                    "each launched kernel to matter. Remove it, or use what it computes.",
                )
            )
    return findings


def _kernel_responses(
    experiment: Experiment,
    before: Results,
    after: dict[str, CaseInputs],
    moved: dict[str, Results],
) -> list[Finding]:
    """Where the reference's results follow a tensor, so do the kernels', gradients included."""
    plain = experiment.kernels(experiment.inputs).result().results
    findings = []
    for name, inputs in after.items():
        got = experiment.kernels(inputs).result().results
        for result, old in before.items():
            change = moved[name][result] - old
            if result not in plain or _moved(old, moved[name][result]) < INFLUENCE:
                continue
            if not rms(got[result] - plain[result] - change) <= RESPONSE * rms(change):
                findings.append(
                    Finding(
                        rule="SUB-INFLUENCE",
                        where=experiment.case.label,
                        message=f"{result} of the kernels does not follow {name} as the reference's does",
                    )
                )
    return findings


# -- tensors -------------------------------------------------------------------------------------------------


def _with_other(experiment: Experiment, entry: TensorSpec) -> CaseInputs:
    """The inputs with one tensor drawn again."""
    return replaced(experiment.inputs, {entry.name: experiment.fresh(entry, "influence")})


def _idle_tensors(experiment: Experiment, before: Results, moved: dict[str, Results]) -> list[Finding]:
    spec = experiment.spec
    seen = ("output", *(entry.name for entry in spec.state))
    return [
        Finding(
            rule="SUB-INPUT-IDLE",
            where=experiment.case.label,
            message=f"{name}: output and state of the reference change by less than {INFLUENCE:g} of their "
            "size when it does; expected every tensor of SPEC to matter. Remove it, or use it.",
        )
        for name, results in moved.items()
        if max(_moved(before[result], results[result]) for result in seen) < INFLUENCE
    ]


def _no_mixing(experiment: Experiment, before: Results) -> list[Finding]:
    """An output that follows its own token alone mixes nothing."""
    at = experiment.case.size_map[TIME] - 2
    values: dict[str, Float64] = {}
    for entry, tensor in zip(experiment.spec.inputs, experiment.inputs.inputs, strict=True):
        if TIME in entry.dims:
            token = (slice(None),) * entry.dims.index(TIME) + (at,)
            values[entry.name] = experiment.fresh(entry, "others")
            values[entry.name][token] = tensor.values[token]
    after = experiment.oracle(replaced(experiment.inputs, values))["output"][:, at]
    old = before["output"][:, at]
    if _moved(old, after) >= INFLUENCE:
        return []
    return [
        Finding(
            rule="SUB-NO-MIXING",
            where=experiment.case.label,
            message=f"the reference's output at token {at} does not depend on the other tokens; expected a "
            "mechanism that mixes tokens",
        )
    ]


# -- triviality ----------------------------------------------------------------------------------------------


def _trivial(experiment: Experiment, before: Results, moved: dict[str, Results]) -> list[Finding]:
    """Copies, shifts, averages, and any fixed linear map of one input."""
    spec = experiment.spec
    zeros = {tensor.name: np.zeros_like(tensor.values) for tensor in experiment.inputs.state}
    inputs = replaced(experiment.inputs, zeros)
    output = experiment.oracle(inputs)["output"] if zeros else before["output"]
    for tensor in inputs.inputs:
        if tensor.values.shape == output.shape and _unexplained(output, tensor.values) < TRIVIAL:
            return [_triviality(experiment, f"{tensor.name}: copies, shifts and averages of it")]
    used = [
        entry
        for entry in spec.arguments
        if _moved(before["output"], moved[entry.name]["output"]) >= INFLUENCE
    ]
    if len(used) == 1 and used[0].domain == "normal" and _is_linear(experiment, inputs, used[0], output):
        return [_triviality(experiment, f"{used[0].name} alone, by a linear map without parameters,")]
    return []


def _triviality(experiment: Experiment, what: str) -> Finding:
    return Finding(
        rule="SUB-TRIVIAL",
        where=experiment.case.label,
        message=f"{what} give the output; expected a mixer whose weights depend on data or parameters",
    )


def _unexplained(output: Float64, tensor: Float64) -> float:
    """What is left of the output, relative to it, after the best sum of plain forms of a tensor."""
    steps = np.arange(1, tensor.shape[1] + 1).reshape(1, -1, *(1,) * (tensor.ndim - 2))
    forms = [tensor, np.cumsum(tensor, axis=1) / steps]
    forms += [np.broadcast_to(one, tensor.shape) for one in (tensor[:, :1], tensor.mean(1, keepdims=True))]
    for shift in (1, 2):
        forms.append(np.concatenate([np.zeros_like(tensor[:, :shift]), tensor[:, :-shift]], axis=1))
    basis = np.stack([form.ravel() for form in forms], axis=1)
    weights = np.linalg.lstsq(basis, output.ravel(), rcond=None)[0]
    return rms(output.ravel() - basis @ weights) / max(rms(output), 1e-300)


def _is_linear(experiment: Experiment, inputs: CaseInputs, entry: TensorSpec, output: Float64) -> bool:
    """f(x + 2 y) = f(x) + 2 f(y), with zero states."""
    first = next(tensor.values for tensor in inputs.tensors if tensor.name == entry.name)
    second = experiment.fresh(entry, "linear")
    outputs = [
        experiment.oracle(replaced(inputs, {entry.name: values}, exact=True))["output"]
        for values in (second, first + 2.0 * second)
    ]
    return rms(outputs[1] - output - 2.0 * outputs[0]) <= LINEAR * rms(outputs[1])


def _moved(before: Float64, after: Float64) -> float:
    """The change, relative to the larger of both."""
    return rms(after - before) / max(rms(before), rms(after), 1e-300)
