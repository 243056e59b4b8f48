"""PRP: what makes a function of tensors a sequence mixer.

Each property is asked twice: of the reference in float64, where it must hold to rounding, since nobody else
asks whether the definition itself looks ahead; and of the kernels, under the float32 tolerance. A property
that cannot apply (no state, not causal, heads that the reference mixes) is `n/a`, derived here and never
declared; one that the depth does not ask is `skip`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from verify.dtypes import Float64
from verify.findings import Finding, Status
from verify.judge.cases import LONG, SHAPES, Case, Planner
from verify.judge.experiment import Experiment, Results, entries_of, finite, joined, rms
from verify.judge.inputs import CaseInputs, replaced
from verify.judge.random import Stream
from verify.judge.session import Rejected, Session
from verify.judge.unmoved import EXACT, Kept, Unmoved
from verify.seeds import derive
from verify.source.contract import BATCH, HEADS, TIME, Spec

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


def check_properties(session: Session, seed: int, *, depth: Literal["quick", "full"]) -> Properties:
    """Every property of one mechanism. Raises `Rejected` where a worker's answer is a finding."""
    stream = Stream(derive(seed, "properties"))
    planner = Planner(spec=session.mechanism.spec, tuning=session.mechanism.tuning, stream=stream)
    found = Properties(statuses=dict.fromkeys(PROPERTIES, "skip"))
    asker = _Asker(session=session, planner=planner, seed=seed, found=found, full=depth == "full")
    asked = (asker.time, asker.units, asker.resume, asker.long, asker.reference_lengths, asker.impulse)
    for ask in asked:
        ask()
        if found.findings:
            break
    return found


@dataclass(frozen=True, kw_only=True)
class _Asker:
    """Asks one property after the other, and notes the answers in `found`."""

    session: Session
    planner: Planner
    seed: int
    found: Properties
    full: bool

    @property
    def spec(self) -> Spec:
        return self.session.mechanism.spec

    def experiment(
        self, draw: int, sizes: Mapping[str, int], gate: Literal["typical", "none"] = "typical"
    ) -> Experiment:
        case = Case(sizes=self.planner.sizes(**sizes), dtype="float32", gate=gate, draw=draw)
        return Experiment.of(self.session, case, self.seed)

    def cut(self, length: int) -> int:
        """Somewhere inside of a sequence."""
        return 1 + self.planner.stream.below(length - 1)

    # -- causality -------------------------------------------------------------------------------------------

    def time(self) -> None:
        """Causal and prefix for a causal mechanism; for another, that it does look ahead.

        The reference is asked with several sequences and heads at once, through which it might look.
        """
        block = self.planner.block
        length = 2 * block + 5
        sizes = {"B": 2, "T": length, "H": 3, "K": 8, "V": 6, "D": 8}
        wide = self.experiment(101, sizes | self.two_of_each())
        if not self.spec.causal:
            self.found.findings += self.looks_ahead(wide)
            status: Status = "fail" if self.found.findings else "n/a"
            self.found.statuses |= {"causal": status, "prefix": status}
            return
        narrow = self.experiment(105, {"B": 1, "T": length, "H": 1, "K": 16, "V": 12, "D": 16})
        cuts = [block, self.cut(length)]
        if self.full:
            cuts += [block - 1, block + 1, self.cut(length)]
        for cut in dict.fromkeys(max(1, min(cut, length - 1)) for cut in cuts):
            self.reference_at(wide, cut)
            if not self.found.findings and (self.full or cut == block):
                self.kernels_at(narrow, cut)
            if self.found.findings:
                return

    def reference_at(self, experiment: Experiment, cut: int) -> None:
        base = _only_prefix(experiment, cut)
        before = experiment.exact(base)
        self.found.note("causal", _suffix(experiment, cut).ask_reference(base, before))
        alone = _segment(experiment, base, slice(0, cut), states=None)
        self.found.note("prefix", _length(experiment, cut).reference(before, alone.oracle(alone.inputs)))

    def kernels_at(self, experiment: Experiment, cut: int) -> None:
        base = _only_prefix(experiment, cut)
        alone = _segment(experiment, base, slice(0, cut), states=None)
        pending = alone.kernels(alone.inputs)
        truth = experiment.truth(base)
        self.found.note("causal", _suffix(experiment, cut).ask_kernels(base, truth, large=True))
        self.found.note("prefix", _length(experiment, cut).kernels(pending.result().results, truth))

    def looks_ahead(self, experiment: Experiment) -> list[Finding]:
        """A causal mechanism that declares itself bidirectional would escape the causal properties."""
        for one in (experiment, None):
            asked = one or self.experiment(106, {"B": 1, "T": LONG, "H": 1, "K": 4, "V": 4, "D": 4})
            unmoved = _suffix(asked, asked.case.size_map[TIME] // 2)
            index = unmoved.parts["output"]
            others = (asked.inputs, unmoved.altered(asked.inputs, 1.0))
            before, after = (asked.oracle(inputs)["output"][index] for inputs in others)
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

    # -- independence ----------------------------------------------------------------------------------------

    def two_of_each(self) -> dict[str, int]:
        """Two of each dimension that counts heads through an expression, such as G and R of H = G*R."""
        return dict.fromkeys(self.spec.head_dims(), 2)

    def units(self) -> None:
        """Batch entries do not see one another; nor do heads, where the reference keeps them apart."""
        sizes = {"B": 2, "T": self.planner.block + 3, "H": 2, "K": 12, "V": 16, "D": 16}
        experiment = self.experiment(102, sizes | self.two_of_each())
        base = replaced(experiment.inputs, {})
        truth = experiment.truth(base)
        for number in (0, 1) if self.full else (0,):
            unmoved = _sequence(experiment, number)
            findings = unmoved.ask_reference(base, truth)
            self.found.note("batch", findings or unmoved.ask_kernels(base, truth, large=self.full))
        if self.full and not self.found.findings:
            self.many_sequences()
        if self.found.findings:
            return
        self.found.statuses["heads"] = "n/a"
        for number, unit in enumerate(_head_units(self.spec, experiment.case)):
            kept = Kept(entries=unit, shared=False)
            unmoved = Unmoved(
                experiment=experiment,
                rule="PRP-HEADS",
                what="the other heads",
                kept=kept,
                label=f"heads {number}",
            )
            if unmoved.ask_reference(base, truth):
                self.found.statuses["heads"] = "n/a"
                return  # heads that the definition mixes: not a property of this mechanism
            if self.full or number == 0:
                self.found.note("heads", unmoved.ask_kernels(base, truth, large=self.full))

    def many_sequences(self) -> None:
        """The reference with a batch of a size that nobody can prepare for."""
        batch = 8 + self.planner.stream.below(10)
        experiment = self.experiment(107, {"B": batch, "T": 7, "H": 2, "K": 4, "V": 4, "D": 4})
        base = replaced(experiment.inputs, {})
        before = experiment.exact(base)
        for number in dict.fromkeys((0, self.planner.stream.below(batch), batch - 1)):
            self.found.note("batch", _sequence(experiment, number).ask_reference(base, before))

    # -- state -----------------------------------------------------------------------------------------------

    def resume(self) -> None:
        """Splitting a sequence, and handing on the state and its gradient, changes nothing.

        A mechanism that looks ahead cannot be resumed, whatever its state is for.
        """
        if not self.spec.state or not self.spec.causal:
            self.found.statuses["resume"] = "n/a"
            return
        block = self.planner.block
        length = 2 * block + 3
        sizes = {"B": 1, "T": length, "H": 2, "K": 12, "V": 16, "D": 12}
        experiment = self.experiment(103, sizes | self.two_of_each())
        truth = experiment.truth(experiment.inputs)
        cuts = [self.cut(length)]
        if self.full:
            cuts += [1, block, block + 1, length - 1, self.cut(length)]
        for cut in dict.fromkeys(max(1, min(cut, length - 1)) for cut in cuts):
            split = _split(experiment, cut)
            resumed = _resumed(experiment, cut, lambda part: part.oracle(part.inputs))
            findings = split.reference(truth, resumed)
            if not findings:
                resumed = _resumed(experiment, cut, lambda part: part.kernels(part.inputs).result().results)
                findings = split.kernels(resumed, truth)
            self.found.note("resume", findings)
            if findings:
                return

    def long(self) -> None:
        """The reference at a length that nobody knows: what happens once in hundreds of tokens shows there.

        NUM ties the kernels to it at such lengths.
        """
        if not (self.full and self.spec.causal):
            return
        length = LONG + self.planner.stream.below(LONG)
        experiment = self.experiment(108, {"B": 1, "T": length, "H": 1, "K": 4, "V": 4, "D": 4})
        self.reference_at(experiment, self.cut(length))
        if not self.spec.state or self.found.findings:
            return
        before = experiment.exact(experiment.inputs)
        for cut in (self.cut(32), self.cut(length)):  # an early cut shifts whatever counts tokens
            resumed = _resumed(experiment, cut, lambda part: part.oracle(part.inputs))
            self.found.note("resume", _split(experiment, cut).reference(before, resumed))

    def reference_lengths(self) -> None:
        """Outputs of the reference at the lengths that THR speaks about, where another definition would pay.

        A definition that cannot be run at such a length in a worker's memory and steps is not asked there.
        """
        if not (self.full and self.spec.causal):
            return
        for length in sorted({shape[TIME] for shape in SHAPES}):
            try:
                experiment = self.experiment(109, {"B": 1, "T": length, "H": 1, "K": 2, "V": 2, "D": 2})
                cut = 64 + self.planner.stream.below(512)
                alone = _segment(experiment, experiment.inputs, slice(0, cut), states=None)
                whole = experiment.output(experiment.inputs)[:, :cut]
            except Rejected:
                continue
            short = alone.output(alone.inputs)
            moved = rms(whole - short) > EXACT * max(rms(whole), rms(short))
            asked = _length(experiment, cut)
            self.found.note("prefix", asked.finding(["output"] if moved else [], "the reference"))

    # -- reach -----------------------------------------------------------------------------------------------

    def impulse(self) -> None:
        """One large token without decay, and one output that looks back: the whole length shows."""
        if not self.full:
            return
        length = 193 + self.planner.stream.below(192)
        experiment = self.experiment(104, {"B": 1, "T": length, "H": 1, "K": 8, "V": 8, "D": 8}, "none")
        at = self.planner.stream.below(16)
        for size in (4.0, 1.0):
            inputs = _with_impulse(experiment, at, size)
            if finite(experiment.oracle(inputs, dtype="float32")):
                break
        pending = experiment.kernels(inputs)
        truth = experiment.truth(inputs)
        everything = Kept(entries={BATCH: slice(None)}, shared=True)
        asked = Unmoved(
            experiment=experiment,
            rule="PRP-IMPULSE",
            what=f"an impulse at token {at} of {length}",
            kept=everything,
            label="impulse",
        )
        self.found.note("impulse", asked.kernels(pending.result().results, truth))


# -- questions -----------------------------------------------------------------------------------------------


def _suffix(experiment: Experiment, cut: int) -> Unmoved:
    """Later tokens are drawn again; only the first `cut` outputs have cotangents."""
    return Unmoved(
        experiment=experiment,
        rule="PRP-CAUSAL",
        what=f"tokens from {cut} on",
        kept=Kept(entries={TIME: slice(0, cut)}, shared=True),
        label=f"suffix {cut}",
        cotangents=False,
    )


def _length(experiment: Experiment, cut: int) -> Unmoved:
    return Unmoved(
        experiment=experiment,
        rule="PRP-PREFIX",
        what=f"the length: {cut} tokens alone, and at the head of {experiment.case.size_map[TIME]}",
        kept=Kept(entries={TIME: slice(0, cut)}, shared=True),
        label="length",
    )


def _sequence(experiment: Experiment, number: int) -> Unmoved:
    return Unmoved(
        experiment=experiment,
        rule="PRP-BATCH",
        what="the other sequences of the batch",
        kept=Kept(entries={BATCH: slice(number, number + 1)}, shared=False),
        label=f"batch {number}",
    )


def _split(experiment: Experiment, cut: int) -> Unmoved:
    return Unmoved(
        experiment=experiment,
        rule="PRP-RESUME",
        what=f"a split after {cut} tokens",
        kept=Kept(entries={BATCH: slice(None)}, shared=True),
        label="split",
    )


# -- inputs --------------------------------------------------------------------------------------------------


def _only_prefix(experiment: Experiment, cut: int) -> CaseInputs:
    """The inputs with cotangents for the first `cut` outputs alone."""
    masked = experiment.inputs.d_output.values.copy()
    masked[:, cut:] = 0.0
    zeros = {tensor.name: np.zeros_like(tensor.values) for tensor in experiment.inputs.d_state}
    return replaced(experiment.inputs, {"d_output": masked, **zeros})


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


def _with_impulse(experiment: Experiment, at: int, size: float) -> CaseInputs:
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
