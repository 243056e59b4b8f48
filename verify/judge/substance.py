"""SUB: the kernels do the work, every tensor matters, and the work is neither trivial nor somebody else's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np

from verify.dtypes import Float64
from verify.findings import Finding
from verify.judge.behaviour import same_as_known
from verify.judge.cases import LONG, Case, Planner
from verify.judge.experiment import Experiment, Results, error_ratio, rms
from verify.judge.inputs import CaseInputs, replaced
from verify.judge.random import Stream
from verify.judge.session import Rejected, Session
from verify.judge.tolerance import Truth
from verify.sandbox.client import Limits, Server
from verify.seeds import derive
from verify.source.contract import TIME, TensorSpec
from verify.source.identity import fingerprint
from verify.source.lock import DEFAULT_TEMPLATES
from verify.source.static import Mechanism, read_released

INFLUENCE = 1e-3
"""The least relative change of a result that counts as influence; what is below it could be left out."""

MIXING = 0.2
"""The least change of some element, relative to the outputs' size, when all other tokens change."""

MIXING_TOKENS = 8

TRIVIAL = 1e-2
"""A fit of the output by copies, shifts and averages of one input must leave more than this of it."""

LINEAR = 1e-9

RESPONSE = 0.1
"""How far the kernels' response to another input may be from the reference's, relative to it."""


def check_substance(session: Session, seed: int, *, depth: Literal["quick", "full"]) -> list[Finding]:
    """Every question but the known mechanisms. Raises `Rejected` where a worker's answer is a finding."""
    spec = session.mechanism.spec
    planner = Planner(spec=spec, tuning=session.mechanism.tuning, stream=Stream(derive(seed, "substance")))
    sizes = planner.sizes(B=1, T=2 * planner.block + 3, H=2, K=16, V=12, D=16)
    experiment = Experiment.of(session, Case(sizes=sizes, dtype="float32", draw=201), seed)
    truth = experiment.truth(experiment.inputs)
    findings = _idle_kernels(experiment, truth)
    before = {name: one.oracle for name, one in truth.items()}
    after = {entry.name: _with_other(experiment, entry) for entry in spec.differentiated}
    moved = {name: experiment.oracle(inputs) for name, inputs in after.items()}
    findings += _idle_tensors(session, planner, experiment, moved, seed)
    findings += _no_mixing(session, planner, experiment, seed)
    findings += _trivial(experiment, before, moved)
    if depth == "full" and not findings:
        findings += _kernel_responses(experiment, before, after, moved)
    return findings


def check_known(
    server: Server, session: Session, limits: Limits, *, templates: Path | None = None
) -> list[Finding]:
    """Is the candidate a released mechanism under another name: the same text, or the same outputs?

    A free one is also held against them up to a factor, without the inputs that hardly matter.
    """
    mechanism = session.mechanism
    for name, known in known_mechanisms(templates or DEFAULT_TEMPLATES):
        if known.source_hash == mechanism.source_hash or known.spec.causal != mechanism.spec.causal:
            continue
        same = mechanism.skeleton is None and fingerprint(known.source) == fingerprint(mechanism.source)
        if not same and _comparable(mechanism, known):
            with Session(server, known, limits, roles=("oracle",)) as other:
                same = same_as_known(session, other, loosely=mechanism.skeleton is None)
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
        mechanism = read_released(path.read_bytes())
        if mechanism is not None:
            yield path.relative_to(templates).with_suffix("").as_posix(), mechanism


def _comparable(candidate: Mechanism, known: Mechanism) -> bool:
    """Can the candidate have a place for every tensor of the known one?"""
    inputs, params = len(candidate.spec.inputs), len(candidate.spec.params)
    return len(known.spec.inputs) <= inputs and len(known.spec.params) <= params


# -- kernels -------------------------------------------------------------------------------------------------


def _idle_kernels(experiment: Experiment, truth: Mapping[str, Truth]) -> list[Finding]:
    """Leave out the launches of one kernel at a time, over scratch of zeros: some result must become wrong.

    A result that only changes below the tolerance does not count: a kernel whose work is added with a factor
    of 1e-9 is there for show.
    """
    findings = []
    for name in dict.fromkeys(launch.kernel for launch in experiment.plan.launches):
        try:
            without = experiment.kernels(experiment.inputs, {"omit": name}, poison=0).result().results
        except Rejected:
            continue  # the others cannot even run without it
        wrong = (
            error_ratio(values, truth[result], (slice(None),) * values.ndim) > 1.0
            for result, values in without.items()
        )
        if not any(wrong):
            findings.append(
                Finding(
                    rule="SUB-KERNEL-IDLE",
                    line=experiment.session.mechanism.functions.get(name),
                    where=experiment.case.label,
                    message=f"{name}: every result stays within the tolerance when it is not launched; "
                    "expected each launched kernel to matter. Remove it, or use what it computes.",
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


def _idle_tensors(
    session: Session, planner: Planner, experiment: Experiment, moved: dict[str, Results], seed: int
) -> list[Finding]:
    """What no output follows is idle; a state that nobody reads does not make it matter.

    Asked again with other draws before it is refused: a mark at the first token can hide a state.
    """
    before = experiment.oracle(experiment.inputs)["output"]
    idle = [name for name, results in moved.items() if not _matters(before, results["output"])]
    for draw in (203, 204, 205) if idle else ():
        sizes = planner.sizes(B=4, T=planner.block, H=2, K=8, V=8, D=8)
        other = Experiment.of(session, Case(sizes=sizes, dtype="float32", draw=draw), seed)
        before = other.oracle(other.inputs)["output"]
        entries = [entry for entry in other.spec.differentiated if entry.name in idle]
        idle = [
            entry.name
            for entry in entries
            if not _matters(before, other.oracle(_with_other(other, entry))["output"])
        ]
    return [
        Finding(
            rule="SUB-INPUT-IDLE",
            where=experiment.case.label,
            message=f"{name}: no output of the reference changes by more than {INFLUENCE:g} of the outputs' "
            "size when it does; expected every tensor of SPEC to matter. Remove it, or use it.",
        )
        for name in idle
    ]


def _matters(before: Float64, after: Float64) -> bool:
    """Does some token of the output (B, T, ...) move? A fading state moves the first ones alone."""
    largest = max(rms(after[:, at] - before[:, at]) for at in range(before.shape[1]))
    return largest >= INFLUENCE * rms(before)


def _no_mixing(session: Session, planner: Planner, experiment: Experiment, seed: int) -> list[Finding]:
    """Outputs that follow their own token alone mix nothing; asked again at length, for dilated windows."""
    if _mixing(experiment, planner) >= MIXING:
        return []
    length = LONG + planner.stream.below(64)
    sizes = planner.sizes(B=1, T=length, H=1, K=8, V=8, D=8)
    longer = Experiment.of(session, Case(sizes=sizes, dtype="float32", draw=202), seed)
    if _mixing(longer, planner) >= MIXING:
        return []
    return [
        Finding(
            rule="SUB-NO-MIXING",
            where=experiment.case.label,
            message=f"no output of the reference changes by {MIXING:g} of the outputs' size with the other "
            "tokens; expected a mechanism that mixes tokens",
        )
    ]


def _mixing(experiment: Experiment, planner: Planner) -> float:
    """The largest change of an output at some token when all others change, relative to the outputs."""
    length = experiment.case.size_map[TIME]
    before = experiment.oracle(experiment.inputs)["output"]
    others = {
        entry.name: experiment.fresh(entry, "others")
        for entry in experiment.spec.inputs
        if TIME in entry.dims
    }
    largest = 0.0
    for at in sorted({planner.stream.below(length) for _ in range(MIXING_TOKENS)}):
        values = {}
        for entry, tensor in zip(experiment.spec.inputs, experiment.inputs.inputs, strict=True):
            if entry.name in others:
                token = (slice(None),) * entry.dims.index(TIME) + (at,)
                values[entry.name] = others[entry.name].copy()
                values[entry.name][token] = tensor.values[token]
        after = experiment.oracle(replaced(experiment.inputs, values))["output"]
        largest = max(largest, float(np.max(np.abs(after[:, at] - before[:, at]))))
    return largest / max(rms(before), 1e-300)


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
