"""What must not notice a change: the kept part of every result, compared before and after.

The reference is asked in float64, where the kept part may move by rounding only; the kernels' results on the
altered inputs are held against the reference's on the original ones, under the float32 tolerance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from verify.dtypes import Float64
from verify.findings import Finding
from verify.judge.experiment import Experiment, Index, Results, entries_of, error_ratio, finite, rms
from verify.judge.inputs import CaseInputs, replaced
from verify.judge.runs import ADMIT_SHARE
from verify.judge.tolerance import Truth
from verify.source.contract import Spec, TensorSpec

EXACT = 1e-9
"""What float64 rounding may change in the kept part of the reference's results, relative to it."""

ROUNDING = 1e-13
"""The same, relative to the whole result, whose other part may be a thousand times as large."""

LARGEST = (1000.0, 32.0, 1.0)
"""How large an altered part is made; the first for which the reference stays finite in float32 is taken."""

BETWEEN = (1.0, 4.0, 16.0)
"""Further scales for the reference: what reacts to values of one size only shows at that size."""


@dataclass(frozen=True, kw_only=True)
class Kept:
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
                found[name] = whole(entry)
        return found


def whole(entry: TensorSpec) -> Index:
    """All of a tensor."""
    return (slice(None),) * len(entry.dims)


@dataclass(frozen=True, kw_only=True)
class Unmoved:
    """A question about an experiment. `what` says what is changed, `label` seeds the values it changes to."""

    experiment: Experiment
    rule: str
    what: str
    kept: Kept
    label: str
    cotangents: bool = True

    @property
    def parts(self) -> dict[str, Index]:
        return self.kept.results(self.experiment.spec)

    def altered(self, base: CaseInputs, scale: float) -> CaseInputs:
        """`base` with everything outside of the kept part drawn again, `scale` times as large."""
        spec, experiment = self.experiment.spec, self.experiment
        values: dict[str, Float64] = {}
        for entry, tensor in zip(spec.differentiated, base.tensors, strict=True):
            index = self.kept.index(entry)
            if index is not None:
                values[entry.name] = experiment.fresh(entry, self.label, scale=scale)
                values[entry.name][index] = tensor.values[index]
        for entry, tensor in zip((spec.output, *spec.state), base.cotangents, strict=True):
            index = self.kept.index(entry)
            if self.cotangents and index is not None:
                values[tensor.name] = experiment.fresh_cotangent(entry, self.label)
                values[tensor.name][index] = tensor.values[index]
        return replaced(base, values)

    def ask_reference(self, base: CaseInputs, before: Mapping[str, Truth]) -> list[Finding]:
        """The reference, at every scale at which it is finite."""
        for scale in (*BETWEEN, LARGEST[0]):
            moved = self.experiment.oracle(self.altered(base, scale))
            findings = self.reference(before, moved, f" at scale {scale:g}") if finite(moved) else []
            if findings:
                return findings
        return []

    def ask_kernels(self, base: CaseInputs, truth: Mapping[str, Truth], *, large: bool) -> list[Finding]:
        """The kernels at scale 1, and, if `large`, at the largest scale that the reference stands."""
        scales = [1.0]
        if large:
            scales += [next(scale for scale in LARGEST if scale == 1.0 or self._stands(base, scale))]
        pending = [
            (scale, self.experiment.kernels(self.altered(base, scale))) for scale in dict.fromkeys(scales)
        ]
        for scale, run in pending:
            findings = self.kernels(run.result().results, truth, f" at scale {scale:g}")
            if findings:
                return findings
        return []

    def reference(self, before: Mapping[str, Truth], after: Results, how: str = "") -> list[Finding]:
        """Compare the reference's results before and after."""
        moved = []
        for name, index in self.parts.items():
            old, new = before[name].oracle[index], after[name][index]
            allowed = EXACT * max(rms(old), rms(new), before[name].terms) + ROUNDING * rms(after[name])
            if not rms(new - old) <= allowed:
                moved.append(name)
        return self.finding(moved, "the reference", how)

    def kernels(self, got: Results, truth: Mapping[str, Truth], how: str = "") -> list[Finding]:
        """Compare the kernels' results after the change with the reference's before it."""
        moved = [
            name
            for name, index in self.parts.items()
            if not error_ratio(got[name], truth[name], index) <= ADMIT_SHARE
        ]
        return self.finding(moved, "the kernels", how)

    def _stands(self, base: CaseInputs, scale: float) -> bool:
        return finite(self.experiment.oracle(self.altered(base, scale), dtype="float32"))

    def finding(self, moved: Sequence[str], who: str, how: str = "") -> list[Finding]:
        """The finding that these results of `who` moved; [] where none did."""
        if not moved:
            return []
        message = f"{', '.join(moved)} of {who} changed with {self.what}{how}; expected no dependence"
        return [Finding(rule=self.rule, where=self.experiment.case.label, message=message)]
