"""PRP: what makes a function of tensors a sequence mixer.

Each property is asked twice: of the reference in float64, where it must hold to rounding, since nobody else
asks whether the definition itself looks ahead; and of the kernels, under the float32 tolerance. A property
that cannot apply (no state, not causal, heads that the reference mixes) is `n/a`, derived here and never
declared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from verify.dtypes import Float64
from verify.findings import Finding, Status
from verify.judge.cases import Case, Planner
from verify.judge.experiment import (
    Experiment,
    Index,
    Results,
    entries_of,
    error_ratio,
    finite,
    joined,
    rms,
)
from verify.judge.inputs import CaseInputs, replaced
from verify.judge.random import Stream
from verify.judge.runs import ADMIT_SHARE
from verify.judge.session import Session
from verify.judge.tolerance import Truth
from verify.seeds import derive
from verify.source.contract import BATCH, HEADS, TIME, Spec, TensorSpec

EXACT = 1e-9
"""What float64 rounding may change in the reference, relative to the larger of both results."""

SCALES = (1000.0, 32.0, 1.0)
"""How large an altered part is; the largest for which the reference stays finite in float32."""

PROPERTIES = ("causal", "prefix", "batch", "heads", "resume", "impulse")


@dataclass(kw_only=True)
class Properties:
    """The stage's answer: a status for each property, and what failed."""

    statuses: dict[str, Status] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def note(self, name: str, findings: Sequence[Finding]) -> None:
        self.findings += findings
        if self.statuses.get(name) != "fail":
            self.statuses[name] = "fail" if findings else "pass"


@dataclass(frozen=True, kw_only=True)
class _Kept:
    """The part of every tensor that must not notice the rest: which entries, by dimension.

    Tensors without these dimensions are the same for all; `shared` says whether their gradients must be kept.
    """

    entries: Mapping[str, slice]
    shared: bool

    def index(self, entry: TensorSpec) -> Index | None:
        if not any(dim in self.entries for dim in entry.dims):
            return None
        return tuple(self.entries.get(dim, slice(None)) for dim in entry.dims)

    def results(self, spec: Spec) -> dict[str, Index]:
        """Which part of which result is compared."""
        found: dict[str, Index] = {}
        for name, entry in entries_of(spec).items():
            index = self.index(entry)
            if index is not None:
                found[name] = index
            elif self.shared and name.startswith("d_"):
                found[name] = (slice(None),) * len(entry.dims)
        return found


def check_properties(session: Session, seed: int, *, depth: Literal["quick", "full"]) -> Properties:
    """Every property of one mechanism. Raises `Rejected` where a worker's answer is a finding."""
    planner = Planner(
        spec=session.mechanism.spec,
        tuning=session.mechanism.tuning,
        stream=Stream(derive(seed, "properties")),
    )
    found = Properties(statuses=dict.fromkeys(PROPERTIES, "skip"))
    _check_time(session, planner, seed, found, full=depth == "full")
    if not found.findings:
        _check_units(session, planner, seed, found, full=depth == "full")
    if not session.mechanism.spec.state:
        found.statuses["resume"] = "n/a"
    elif not found.findings:
        _check_resume(session, planner, seed, found, full=depth == "full")
    if depth == "full" and not found.findings:
        _check_impulse(session, planner, seed, found)
    return found


# -- causality -----------------------------------------------------------------------------------------------


def _check_time(session: Session, planner: Planner, seed: int, found: Properties, *, full: bool) -> None:
    """Causal and prefix for a causal mechanism; for another, that it does look ahead."""
    block = planner.block
    case = Case(sizes=planner.sizes(B=1, T=2 * block + 5, H=1, K=16, V=12, D=16), dtype="float32", draw=101)
    experiment = Experiment.of(session, case, seed)
    length = case.size_map[TIME]
    if not planner.spec.causal:
        found.findings += _looks_ahead(experiment, length // 2)
        found.statuses |= dict.fromkeys(("causal", "prefix"), "fail" if found.findings else "n/a")
        return
    cuts = [block, 1 + planner.stream.below(length - 1)]
    if full:
        cuts += [block - 1, block + 1, 1 + planner.stream.below(length - 1)]
    for cut in dict.fromkeys(max(1, min(cut, length - 1)) for cut in cuts):
        kept = _Kept(entries={TIME: slice(0, cut)}, shared=True)
        base = _only_prefix(experiment, cut)
        truth = experiment.truth(base)
        for scale in (1.0, SCALES[0]) if full or cut == block else (1.0,):
            unmoved = _Unmoved(rule="PRP-CAUSAL", what=f"tokens from {cut} on, at scale {scale:g}")
            found.note(
                "causal",
                unmoved.redrawn(
                    experiment, base, truth, kept, f"suffix {cut}", cotangents=False, scale=scale
                ),
            )
        found.note("prefix", _check_prefix(experiment, base, truth, cut))
        if found.findings:
            return


def _only_prefix(experiment: Experiment, cut: int) -> CaseInputs:
    """The inputs with cotangents for the first `cut` outputs alone."""
    masked = experiment.inputs.d_output.values.copy()
    masked[:, cut:] = 0.0
    zeros = {tensor.name: np.zeros_like(tensor.values) for tensor in experiment.inputs.d_state}
    return replaced(experiment.inputs, {"d_output": masked, **zeros})


def _looks_ahead(experiment: Experiment, cut: int) -> list[Finding]:
    """A mechanism that declares itself bidirectional and is causal would escape the causal properties."""
    kept = _Kept(entries={TIME: slice(0, cut)}, shared=False)
    base = experiment.inputs
    other = _altered(experiment, base, kept, "suffix", 1.0, cotangents=False)
    index = kept.results(experiment.spec)["output"]
    before, after = (experiment.oracle(inputs)["output"][index] for inputs in (base, other))
    if rms(after - before) > EXACT * max(rms(before), rms(after)):
        return []
    return [
        Finding(
            rule="PRP-DIRECTION",
            where=experiment.case.label,
            message='SPEC says "causal": False, and no output of the reference depends on a later token; '
            'expected "causal": True, with the properties that follow from it',
        )
    ]


def _check_prefix(
    experiment: Experiment, base: CaseInputs, truth: Mapping[str, Truth], cut: int
) -> list[Finding]:
    """The first tokens alone give what they give at the head of a longer sequence."""
    short = _segment(experiment, base, slice(0, cut), states=None)
    kept = _Kept(entries={TIME: slice(0, cut)}, shared=True).results(experiment.spec)
    pending = short.kernels(short.inputs)
    alone = short.oracle(short.inputs)
    what = f"the length: {cut} tokens alone, and at the head of {experiment.case.size_map[TIME]}"
    judged = _Unmoved(rule="PRP-PREFIX", what=what)
    findings = judged.reference(truth, alone, kept, experiment)
    return findings or judged.kernels(pending.result().results, truth, kept, experiment)


# -- independence --------------------------------------------------------------------------------------------


def _check_units(session: Session, planner: Planner, seed: int, found: Properties, *, full: bool) -> None:
    """Batch entries do not see one another; nor do heads, where the reference keeps them apart."""
    sizes = planner.sizes(B=2, T=planner.block + 3, H=2, K=12, V=16, D=16, **_two_of_each(planner.spec))
    case = Case(sizes=sizes, dtype="float32", draw=102)
    experiment = Experiment.of(session, case, seed)
    base = replaced(experiment.inputs, {})
    truth = experiment.truth(base)
    for number in (0, 1) if full else (0,):
        kept = _Kept(entries={BATCH: slice(number, number + 1)}, shared=False)
        unmoved = _Unmoved(rule="PRP-BATCH", what="the other sequence of the batch")
        found.note("batch", unmoved.redrawn(experiment, base, truth, kept, f"batch {number}"))
    if found.findings:
        return
    found.statuses["heads"] = "n/a"
    for number, unit in enumerate(_head_units(planner.spec, case)):
        kept = _Kept(entries=unit, shared=False)
        unmoved = _Unmoved(rule="PRP-HEADS", what="the other heads")
        other = _altered(experiment, base, kept, "heads", 1.0, cotangents=True)
        if unmoved.reference(truth, experiment.oracle(other), kept.results(planner.spec), experiment):
            return  # heads that the definition mixes: not a property of this mechanism
        if full or number == 0:
            found.note("heads", unmoved.redrawn(experiment, base, truth, kept, f"heads {number}"))


def _two_of_each(spec: Spec) -> dict[str, int]:
    """Two of each dimension that counts heads through an expression, such as G and R of H = G*R."""
    return dict.fromkeys(spec.head_dims(), 2)


def _head_units(spec: Spec, case: Case) -> list[dict[str, slice]]:
    """The first and the last unit of heads: one head, or one group of grouped queries. [] if there is one."""
    sizes = spec.resolve(case.size_map)
    if HEADS not in sizes:
        return []
    used = {dim for entry in entries_of(spec).values() for dim in entry.dims}
    group = next((name for name in spec.head_dims() if name in used), HEADS)
    count = sizes[group]
    if count < 2 or sizes[HEADS] % count:
        return []
    width = sizes[HEADS] // count
    return [
        {group: slice(index, index + 1), HEADS: slice(index * width, (index + 1) * width)}
        for index in (0, count - 1)
    ]


# -- state ---------------------------------------------------------------------------------------------------


def _check_resume(session: Session, planner: Planner, seed: int, found: Properties, *, full: bool) -> None:
    """Splitting a sequence, and handing on the state and its gradient, changes nothing."""
    block = planner.block
    sizes = planner.sizes(B=1, T=2 * block + 3, H=2, K=12, V=16, D=12, **_two_of_each(planner.spec))
    case = Case(sizes=sizes, dtype="float32", draw=103)
    experiment = Experiment.of(session, case, seed)
    length = case.size_map[TIME]
    truth = experiment.truth(experiment.inputs)
    cuts = [1 + planner.stream.below(length - 1)]
    if full:
        cuts += [1, block, block + 1, length - 1, 1 + planner.stream.below(length - 1)]
    everything = {name: (slice(None),) * len(entry.dims) for name, entry in entries_of(planner.spec).items()}
    for cut in dict.fromkeys(max(1, min(cut, length - 1)) for cut in cuts):
        judged = _Unmoved(rule="PRP-RESUME", what=f"a split after {cut} tokens")
        resumed = _resumed(experiment, cut, lambda part: part.oracle(part.inputs))
        findings = judged.reference(truth, resumed, everything, experiment)
        if not findings:
            resumed = _resumed(experiment, cut, lambda part: part.kernels(part.inputs).result().results)
            findings = judged.kernels(resumed, truth, everything, experiment)
        found.note("resume", findings)
        if findings:
            return


def _resumed(experiment: Experiment, cut: int, run: Callable[[Experiment], Results]) -> Results:
    """All results of a sequence that is run in two segments, put together as those of one run."""
    spec, inputs = experiment.spec, experiment.inputs
    length = experiment.case.size_map[TIME]
    zeros = {tensor.name: np.zeros_like(tensor.values) for tensor in inputs.d_state}
    first = run(_segment(experiment, replaced(inputs, zeros), slice(0, cut), states=None))
    handed = {entry.name: first[entry.name] for entry in spec.state}
    second = run(_segment(experiment, inputs, slice(cut, length), states=handed))
    back = {f"d_{entry.name}": second[f"d_{entry.name}"] for entry in spec.state}
    head = run(_segment(experiment, replaced(inputs, back, exact=True), slice(0, cut), states=None))
    whole: dict[str, Float64] = {"output": joined([head["output"], second["output"]], 1)}
    whole |= {entry.name: second[entry.name] for entry in spec.state}
    for entry in (entry for entry in spec.differentiated if entry.differentiable):
        name = f"d_{entry.name}"
        if TIME in entry.dims:
            whole[name] = joined([head[name], second[name]], entry.dims.index(TIME))
        else:
            whole[name] = head[name] + (second[name] if entry in spec.params else 0.0)
    return whole


def _segment(
    experiment: Experiment, inputs: CaseInputs, tokens: slice, *, states: Mapping[str, Float64] | None
) -> Experiment:
    """The experiment on some of its tokens, from given states (None: the inputs' own)."""
    spec = experiment.spec
    sizes = dict(experiment.case.sizes) | {TIME: tokens.stop - tokens.start}
    case = Case(sizes=tuple(sizes.items()), dtype="float32", draw=experiment.case.draw)
    short = Experiment.of(experiment.session, case, experiment.seed)
    values = {tensor.name: tensor.values for tensor in (*inputs.tensors, *inputs.cotangents)}
    values |= states or {}
    for entry in spec.arguments:
        if TIME in entry.dims:
            values[entry.name] = np.take(
                values[entry.name], range(tokens.start, tokens.stop), axis=entry.dims.index(TIME)
            )
    values["d_output"] = values["d_output"][:, tokens]
    return Experiment(
        session=short.session,
        case=case,
        seed=short.seed,
        inputs=replaced(short.inputs, values, exact=True),
        plan=short.plan,
    )


# -- reach ---------------------------------------------------------------------------------------------------


def _check_impulse(session: Session, planner: Planner, seed: int, found: Properties) -> None:
    """One large token without decay, and one output that looks back: the whole length shows."""
    length = 193 + planner.stream.below(192)
    case = Case(
        sizes=planner.sizes(B=1, T=length, H=1, K=8, V=8, D=8), dtype="float32", gate="none", draw=104
    )
    experiment = Experiment.of(session, case, seed)
    at = planner.stream.below(16)
    for size in (16.0, 4.0, 1.0):
        inputs = _impulse(experiment, at, size)
        if finite(experiment.oracle(inputs, dtype="float32")):
            break
    pending = experiment.kernels(inputs)
    truth = experiment.truth(inputs)
    whole = {name: (slice(None),) * len(entry.dims) for name, entry in entries_of(planner.spec).items()}
    judged = _Unmoved(rule="PRP-IMPULSE", what=f"an impulse at token {at} of {length}")
    found.note("impulse", judged.kernels(pending.result().results, truth, whole, experiment))


def _impulse(experiment: Experiment, at: int, size: float) -> CaseInputs:
    """Token `at` of the normal inputs `size` times as large, and a cotangent at the last output alone."""
    values: dict[str, Float64] = {}
    for entry, tensor in zip(experiment.spec.inputs, experiment.inputs.inputs, strict=True):
        if entry.domain == "normal" and TIME in entry.dims:
            scaled = tensor.values.copy()
            scaled[(slice(None),) * entry.dims.index(TIME) + (at,)] *= size
            values[entry.name] = scaled
    last = np.zeros_like(experiment.inputs.d_output.values)
    last[:, -1] = experiment.inputs.d_output.values[:, -1]
    return replaced(experiment.inputs, {**values, "d_output": last})


# -- comparing -----------------------------------------------------------------------------------------------


def _altered(
    experiment: Experiment, base: CaseInputs, kept: _Kept, label: str, scale: float, *, cotangents: bool
) -> CaseInputs:
    """`base` with everything outside of the kept part drawn again, `scale` times as large."""
    spec = experiment.spec
    values: dict[str, Float64] = {}
    for entry, tensor in zip(spec.differentiated, base.tensors, strict=True):
        index = kept.index(entry)
        if index is not None:
            values[entry.name] = experiment.fresh(entry, label, scale=scale)
            values[entry.name][index] = tensor.values[index]
    for entry, tensor in zip((spec.output, *spec.state), base.cotangents, strict=True):
        index = kept.index(entry)
        if cotangents and index is not None:
            values[tensor.name] = experiment.fresh_cotangent(entry, label)
            values[tensor.name][index] = tensor.values[index]
    return replaced(base, values)


@dataclass(frozen=True, kw_only=True)
class _Unmoved:
    """Compares results that should not have moved. `what` says what was changed, for the finding."""

    rule: str
    what: str

    def redrawn(
        self,
        experiment: Experiment,
        base: CaseInputs,
        truth: Mapping[str, Truth],
        kept: _Kept,
        label: str,
        *,
        cotangents: bool = True,
        scale: float = SCALES[0],
    ) -> list[Finding]:
        """Draw the rest again, up to `scale` times as large; ask the reference, then the kernels."""
        results = kept.results(experiment.spec)
        for size in (one for one in SCALES if one <= scale):
            other = _altered(experiment, base, kept, label, size, cotangents=cotangents)
            pending = experiment.kernels(other)
            moved = experiment.oracle(other)
            if finite(moved) and finite(experiment.oracle(other, dtype="float32")):
                break
        findings = self.reference(truth, moved, results, experiment)
        return findings or self.kernels(pending.result().results, truth, results, experiment)

    def reference(
        self, before: Mapping[str, Truth], after: Results, parts: Mapping[str, Index], experiment: Experiment
    ) -> list[Finding]:
        """The reference's results before and after, where they must be the same to float64 rounding."""
        moved = [
            name
            for name, index in parts.items()
            if not rms(after[name][index] - before[name].oracle[index])
            <= EXACT * max(rms(before[name].oracle), rms(after[name]), before[name].terms)
        ]
        return self._finding(moved, "the reference", experiment)

    def kernels(
        self, got: Results, truth: Mapping[str, Truth], parts: Mapping[str, Index], experiment: Experiment
    ) -> list[Finding]:
        """The kernels' results after the change against the reference's before it."""
        moved = [
            name
            for name, index in parts.items()
            if not error_ratio(got[name], truth[name], index) <= ADMIT_SHARE
        ]
        return self._finding(moved, "the kernels", experiment)

    def _finding(self, moved: Sequence[str], who: str, experiment: Experiment) -> list[Finding]:
        if not moved:
            return []
        message = f"{', '.join(moved)} of {who} changed with {self.what}; expected no dependence"
        return [Finding(rule=self.rule, where=experiment.case.label, message=message)]
