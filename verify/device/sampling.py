"""A part of what a timed run left, compared with the float64 definition afterwards.

One batch row is drawn and, where the definition treats heads alone, one head; of that part every result with
a batch dimension is compared. The definition is `parallel` where there is one (NUM showed it equal to
`reference`): a loop over every token takes too long at these lengths.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from verify.dtypes import FORMATS, Float64, to_float64
from verify.judge.cases import Case
from verify.judge.inputs import CaseInputs, Tensor, draw_inputs
from verify.judge.random import Stream
from verify.judge.runs import result_names, variants
from verify.judge.session import Session, oracle_blobs
from verify.judge.tolerance import Truth, compare, gradient_terms
from verify.plan.request import Layout, TraceRequest
from verify.sandbox.client import Worker
from verify.seeds import derive
from verify.source.contract import BATCH, HEADS, Spec, TensorSpec

BOUND = 4.0
"""Tolerances of the dtype within which a timed result must be: its accuracy was judged before, at shorter
lengths, and what a run does not compute is hundreds of tolerances away.
"""


class Stale(Exception):
    """A timed run did not leave the results of its inputs. `rule` says how that shows."""

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule = rule


class Sampler:
    """Draws a part of a case by `seed` and compares it. The evaluations run in the session's oracle."""

    def __init__(self, session: Session, case: Case, request: TraceRequest, seed: int) -> None:
        self._session, self._case, self._request, self._seed = session, case, request, seed
        spec = session.mechanism.spec
        self._function = "parallel" if session.mechanism.has_parallel else "reference"
        sizes, stream = spec.resolve(case.size_map), Stream(derive(seed, "part"))
        self._chosen = {BATCH: stream.below(sizes[BATCH])}
        derived = {name for rule in spec.dims.values() for name in rule.names}
        free = HEADS in spec.free_dims() and HEADS not in derived
        if free and heads_are_alone(session, self._function, seed):
            self._chosen[HEADS] = stream.below(sizes[HEADS])

    def look(self, worker: Worker, form: str, number: int) -> dict[str, Any]:
        """Where in the run on input set `number` was looked, and error / tolerance of each result.

        Raises Stale, `Rejected` where the definition cannot be evaluated, and what `Worker.call` raises.
        """
        spec = self._session.mechanism.spec
        entries = [*spec.differentiated, *(_cotangent(entry) for entry in (spec.output, *spec.state))]
        arguments = list(self._request.arguments)
        compared = self._compared(spec)
        slices = [
            ["input", name, self._cuts(entry)] for name, entry in zip(arguments, entries, strict=True)
        ]
        slices += [["result", name, self._cuts(entry)] for name, entry in compared.items()]
        answer, blobs = worker.call("sample", {"form": form, "set": number, "slices": slices})
        if answer["changed"]:
            raise Stale(
                "MEM-INPUT-CHANGED",
                f"{', '.join(answer['changed'])}: overwritten while it was timed; expected arguments to stay "
                "as they are",
            )
        count = len(arguments)
        inputs = self._inputs(entries, answer["shapes"][:count], blobs[:count])
        got = {
            name: _values(blob, shape, self._dtype(entry))
            for (name, entry), shape, blob in zip(
                compared.items(), answer["shapes"][count:], blobs[count:], strict=True
            )
        }
        return {"part": dict(self._chosen), "form": self._function, "ratios": self._ratios(inputs, got)}

    def _compared(self, spec: Spec) -> dict[str, TensorSpec]:
        """Results with a batch dimension, by the names of `Plan.results`; the rest are sums over it."""
        found = {"output": spec.output, **{entry.name: entry for entry in spec.state}}
        found |= {f"d_{entry.name}": entry for entry in spec.differentiated if entry.differentiable}
        return {name: entry for name, entry in found.items() if BATCH in entry.dims}

    def _cuts(self, entry: TensorSpec) -> list[list[int]]:
        return [
            [position, self._chosen[dim]] for position, dim in enumerate(entry.dims) if dim in self._chosen
        ]

    def _dtype(self, entry: TensorSpec) -> str:
        return self._case.dtype if entry.dtype == "io" else entry.dtype

    def _inputs(
        self, entries: Sequence[TensorSpec], shapes: Sequence[Sequence[int]], blobs: Sequence[bytes]
    ) -> CaseInputs:
        tensors = []
        for entry, shape, blob in zip(entries, shapes, blobs, strict=True):
            dtype = self._dtype(entry)
            tensors.append(
                Tensor(
                    name=entry.name,
                    domain=entry.domain,
                    dtype=dtype,
                    values=_values(blob, shape, dtype),
                    layout=Layout.dense(shape, dtype),
                    raw=blob,
                )
            )
        spec = self._session.mechanism.spec
        first, second = len(spec.inputs), len(spec.arguments)
        third = second + len(spec.state)
        return CaseInputs(
            inputs=tuple(tensors[:first]),
            params=tuple(tensors[first:second]),
            state=tuple(tensors[second:third]),
            d_output=tensors[third],
            d_state=tuple(tensors[third + 1 :]),
        )

    def _ratios(self, inputs: CaseInputs, got: Mapping[str, Float64]) -> dict[str, float]:
        spec, label = self._session.mechanism.spec, f"timed, {self._case.label}"
        evaluated = [
            self._session.evaluate(self._function, inputs, [blobs], label).result()[0]
            for blobs in variants(inputs, self._case, self._seed)
        ]
        single = [[_single(tensor) for tensor in (*inputs.tensors, *inputs.cotangents)]]
        eager = self._session.evaluate(self._function, inputs, single, label, dtype="float32").result()[0]
        names = result_names(spec)
        count = len(inputs.cotangents)
        pairs = [
            (result, cotangent.values)
            for result, cotangent in zip(evaluated[0][:count], inputs.cotangents, strict=True)
        ]
        values = {f"d_{tensor.name}": tensor.values for tensor in inputs.tensors}
        ratios = {}
        for position, name in enumerate(names):
            if name not in got:
                continue
            gradient = position >= count
            found = compare(
                got[name],
                Truth(
                    oracle=evaluated[0][position],
                    perturbed=[results[position] for results in evaluated[1:]],
                    eager=eager[position],
                    terms=gradient_terms(pairs, values[name]) if gradient else 0.0,
                ),
                run_dtype=self._case.dtype,
                result_dtype=self._dtype(self._compared(spec)[name]),
            )
            ratios[name] = found.ratio
        wrong = sorted(name for name, ratio in ratios.items() if not ratio <= BOUND)
        if wrong:
            raise Stale(
                "THR-OUTPUT",
                f"{', '.join(wrong)}: what a timed run left differs from the definition by "
                f"{max(ratios[name] for name in wrong):.3g} tolerances; expected at most {BOUND:g}. Compute "
                "every result in every run",
            )
        return ratios


def heads_are_alone(session: Session, function: str, seed: int) -> bool:
    """Whether the definition gives a head the same results without the others. Raises Rejected."""
    spec = session.mechanism.spec
    small = {"B": 1, "T": 5, "H": 2, "K": 4, "V": 4, "D": 4}
    sizes = tuple((name, small.get(name, spec.dims[name].low)) for name in spec.free_dims())
    whole = draw_inputs(spec, Case(sizes=sizes, dtype="float32"), derive(seed, "heads"))
    both = session.evaluate(function, whole, [oracle_blobs(whole)], "heads").result()[0]
    count = len(whole.cotangents)
    entries = [*spec.differentiated, *(_cotangent(entry) for entry in (spec.output, *spec.state))]
    for head in range(2):
        tensors = [
            _head(tensor, entry, head)
            for tensor, entry in zip((*whole.tensors, *whole.cotangents), entries, strict=True)
        ]
        first, second = len(spec.inputs), len(spec.arguments)
        third = second + len(spec.state)
        alone = CaseInputs(
            inputs=tuple(tensors[:first]),
            params=tuple(tensors[first:second]),
            state=tuple(tensors[second:third]),
            d_output=tensors[third],
            d_state=tuple(tensors[third + 1 :]),
        )
        one = session.evaluate(function, alone, [oracle_blobs(alone)], "heads").result()[0]
        for result, expected, entry in zip(one[:count], both, (spec.output, *spec.state), strict=False):
            if HEADS in entry.dims:
                cut = np.take(expected, [head], axis=entry.dims.index(HEADS))
                if not np.allclose(result, cut, rtol=1e-9, atol=1e-12):
                    return False
    return True


def _head(tensor: Tensor, entry: TensorSpec, head: int) -> Tensor:
    if HEADS not in entry.dims:
        return tensor
    values = np.take(tensor.values, [head], axis=entry.dims.index(HEADS))
    return Tensor(
        name=tensor.name,
        domain=tensor.domain,
        dtype=tensor.dtype,
        values=values,
        layout=Layout.dense(values.shape, tensor.dtype),
        raw=b"",
    )


def _cotangent(entry: TensorSpec) -> TensorSpec:
    return TensorSpec(name=f"d_{entry.name}", dims=entry.dims, domain="normal", dtype=entry.dtype)


def _values(blob: bytes, shape: Sequence[int], dtype: str) -> Float64:
    return to_float64(np.frombuffer(blob, FORMATS[dtype].storage), dtype).reshape(tuple(shape))


def _single(tensor: Tensor) -> bytes:
    dtype = np.int64 if tensor.domain == "index" else np.float32
    return np.ascontiguousarray(tensor.values, dtype=dtype).tobytes()
