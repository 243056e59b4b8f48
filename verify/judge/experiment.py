"""One shape of PRP and SUB: kernels and reference side by side, on inputs that are altered on purpose.

All of it runs in float32 on dense tensors with the default tuning, against the reference in float64.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import numpy as np

from verify.dtypes import Float64
from verify.judge.cases import Case
from verify.judge.contract_checks import trace_request
from verify.judge.inputs import CaseInputs, draw, draw_inputs
from verify.judge.random import Stream
from verify.judge.runs import POISONS, result_names, single, truths, variants
from verify.judge.session import Executed, Session, oracle_blobs
from verify.judge.tolerance import Truth, compare
from verify.plan.format import Plan
from verify.seeds import derive
from verify.source.contract import Spec, TensorSpec

Results = Mapping[str, Float64]
Index = tuple[slice, ...]


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A case and its inputs. Every method may raise `Rejected`, where a worker's answer is a finding."""

    session: Session
    case: Case
    seed: int
    inputs: CaseInputs
    plan: Plan

    @classmethod
    def of(cls, session: Session, case: Case, seed: int) -> Experiment:
        """Draw the case's inputs and trace its plan."""
        inputs = draw_inputs(session.mechanism.spec, case, seed)
        plan = session.trace(trace_request(session.mechanism, case, inputs), case.label)
        return cls(session=session, case=case, seed=seed, inputs=inputs, plan=plan)

    @property
    def spec(self) -> Spec:
        return self.session.mechanism.spec

    def kernels(
        self, inputs: CaseInputs, way: Mapping[str, Any] | None = None, *, poison: int = POISONS[0]
    ) -> Future[Executed]:
        """The kernels' results on inputs of this shape, in the background."""
        return self.session.execute(self.plan, inputs, self.case.label, poison=poison, way=way)

    def oracle(self, inputs: CaseInputs, *, dtype: str = "float64") -> Results:
        """The reference's results and gradients."""
        blobs = oracle_blobs(inputs) if dtype == "float64" else single(inputs)
        asked = self.session.evaluate("reference", inputs, [blobs], self.case.label, dtype=dtype)
        return dict(zip(result_names(self.spec), asked.result()[0], strict=True))

    def output(self, inputs: CaseInputs) -> Float64:
        """The reference's output alone."""
        asked = self.session.evaluate(
            "reference", inputs, [oracle_blobs(inputs)], self.case.label, gradients=False
        )
        return asked.result()[0][0]

    def truth(self, inputs: CaseInputs) -> dict[str, Truth]:
        """What the results should be, and how well arithmetic can know it."""
        asked = self.session.evaluate(
            "reference", inputs, variants(inputs, self.case, self.seed), self.case.label
        )
        eager = self.session.evaluate("reference", inputs, [single(inputs)], self.case.label, dtype="float32")
        found = truths(self.spec, inputs, asked.result(), eager.result()[0])
        return dict(zip(result_names(self.spec), found, strict=True))

    def exact(self, inputs: CaseInputs) -> dict[str, Truth]:
        """What the results are, for comparing the reference with itself: without a yardstick for kernels."""
        blobs = [oracle_blobs(inputs)]
        (results,) = self.session.evaluate("reference", inputs, blobs, self.case.label).result()
        found = truths(self.spec, inputs, [results], results)
        return dict(zip(result_names(self.spec), found, strict=True))

    def fresh(self, entry: TensorSpec, label: str, *, scale: float = 1.0) -> Float64:
        """Other values for a tensor; `scale` applies to the domain `normal` alone."""
        shape = entry.shape(self.spec.resolve(self.case.size_map))
        stream = Stream(derive(self.seed, "altered", self.case.label, label, entry.name))
        return (scale if entry.domain == "normal" else 1.0) * draw(stream, entry.domain, shape)

    def fresh_cotangent(self, entry: TensorSpec, label: str) -> Float64:
        """Other values for the cotangent of the output or of a state."""
        shape = entry.shape(self.spec.resolve(self.case.size_map))
        return Stream(derive(self.seed, "altered", self.case.label, label, f"d_{entry.name}")).normal(shape)


def entries_of(spec: Spec) -> dict[str, TensorSpec]:
    """Every result's tensor by its name: `output`, the states, and `d_<tensor>` for the gradients."""
    named = {"output": spec.output} | {entry.name: entry for entry in spec.state}
    return named | {f"d_{entry.name}": entry for entry in spec.differentiated if entry.differentiable}


def part(truth: Truth, index: Index) -> Truth:
    """A part of a result's truth. Its terms keep the size that they have in the whole."""
    return Truth(
        oracle=truth.oracle[index],
        perturbed=[values[index] for values in truth.perturbed],
        eager=truth.eager[index],
        terms=truth.terms,
    )


def error_ratio(got: Float64, truth: Truth, index: Index) -> float:
    """Error / tolerance in float32 of one part of a result."""
    return compare(got[index], part(truth, index), run_dtype="float32", result_dtype="float32").ratio


def rms(values: Float64) -> float:
    """Root mean square; 0 for nothing."""
    return float(np.sqrt(np.mean(values * values))) if values.size else 0.0


def finite(results: Results) -> bool:
    """Are all values of all results finite?"""
    return all(bool(np.isfinite(values).all()) for values in results.values())


def joined(pieces: Sequence[Float64], axis: int) -> Float64:
    """Pieces of a tensor, one after the other."""
    return np.concatenate(list(pieces), axis=axis)
