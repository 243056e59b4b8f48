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


Cuts = Mapping[str, tuple[int, int]]
"""Start and length of what is kept of a dimension, by its name."""


class Sampler:
    """Draws a part of a case by `seed` and compares it. The evaluations run in the session's oracle.

    Raises `Rejected` where the definition cannot be evaluated at all.
    """

    def __init__(self, session: Session, case: Case, request: TraceRequest, seed: int) -> None:
        self._session, self._case, self._request, self._seed = session, case, request, seed
        spec = session.mechanism.spec
        self._function = "parallel" if session.mechanism.has_parallel else "reference"
        sizes, stream = spec.resolve(case.size_map), Stream(derive(seed, "part"))
        self._cuts: dict[str, tuple[int, int]] = {BATCH: (stream.below(sizes[BATCH]), 1)}
        heads = head_cuts(spec, sizes, stream)
        if heads and heads_are_alone(session, self._function, seed):
            self._cuts |= heads
        self._known: tuple[list[bytes], dict[str, Truth]] | None = None

    def look(self, worker: Worker, form: str, number: int) -> dict[str, Any]:
        """Where in the run on input set `number` was looked, and error / tolerance of each result.

        Raises Stale, `Rejected` where the definition cannot be evaluated, and what `Worker.call` raises.
        """
        spec = self._session.mechanism.spec
        arguments, compared = list(self._request.arguments), self._compared(spec)
        entries = argument_entries(spec)
        slices = [
            ["input", name, self._cuts_of(entry)] for name, entry in zip(arguments, entries, strict=True)
        ]
        slices += [["result", name, self._cuts_of(entry)] for name, entry in compared.items()]
        answer, blobs = worker.call("sample", {"form": form, "set": number, "slices": slices})
        if answer["changed"]:
            raise Stale(
                "MEM-INPUT-CHANGED",
                f"{', '.join(answer['changed'])}: overwritten while it was timed; expected arguments to stay "
                "as they are",
            )
        count = len(arguments)
        truths = self._truths(entries, answer["shapes"][:count], blobs[:count])
        ratios = {}
        parts = zip(compared.items(), answer["shapes"][count:], blobs[count:], strict=True)
        for (name, entry), shape, blob in parts:
            got, dtype = _values(blob, shape, self._dtype(entry)), self._dtype(entry)
            found = compare(got, truths[name], run_dtype=self._case.dtype, result_dtype=dtype)
            ratios[name] = found.ratio
        wrong = sorted(name for name, ratio in ratios.items() if not ratio <= BOUND)
        if wrong:
            raise Stale(
                "THR-OUTPUT",
                f"{', '.join(wrong)}: what a timed run left differs from the definition by "
                f"{max(ratios[name] for name in wrong):.3g} tolerances; expected at most {BOUND:g}. Compute "
                "every result in every run",
            )
        part = {name: list(cut) for name, cut in self._cuts.items()}
        return {"part": part, "definition": self._function, "ratios": ratios}

    def _compared(self, spec: Spec) -> dict[str, TensorSpec]:
        """Results with a batch dimension, by the names of `Plan.results`; the rest are sums over it."""
        found = {"output": spec.output, **{entry.name: entry for entry in spec.state}}
        found |= {f"d_{entry.name}": entry for entry in spec.differentiated if entry.differentiable}
        return {name: entry for name, entry in found.items() if BATCH in entry.dims}

    def _cuts_of(self, entry: TensorSpec) -> list[list[int]]:
        return [[position, *self._cuts[dim]] for position, dim in enumerate(entry.dims) if dim in self._cuts]

    def _dtype(self, entry: TensorSpec) -> str:
        return self._case.dtype if entry.dtype == "io" else entry.dtype

    def _truths(
        self, entries: Sequence[TensorSpec], shapes: Sequence[Sequence[int]], blobs: list[bytes]
    ) -> dict[str, Truth]:
        """By result: what it should be for these inputs. Forms that were given the same share the answer."""
        if self._known is None or self._known[0] != blobs:
            spec = self._session.mechanism.spec
            tensors = [
                _tensor(entry, _values(blob, shape, self._dtype(entry)), self._dtype(entry))
                for entry, shape, blob in zip(entries, shapes, blobs, strict=True)
            ]
            self._known = (blobs, self._evaluated(spec, case_inputs(spec, tensors)))
        return self._known[1]

    def _evaluated(self, spec: Spec, inputs: CaseInputs) -> dict[str, Truth]:
        label = f"timed, {self._case.label}"
        evaluated = [
            self._session.evaluate(self._function, inputs, [blobs], label).result()[0]
            for blobs in variants(inputs, self._case, self._seed)
        ]
        single = [[_single(tensor) for tensor in (*inputs.tensors, *inputs.cotangents)]]
        eager = self._session.evaluate(self._function, inputs, single, label, dtype="float32").result()[0]
        count = len(inputs.cotangents)
        pairs = [
            (result, cotangent.values)
            for result, cotangent in zip(evaluated[0][:count], inputs.cotangents, strict=True)
        ]
        values = {f"d_{tensor.name}": tensor.values for tensor in inputs.tensors}
        return {
            name: Truth(
                oracle=evaluated[0][position],
                perturbed=[results[position] for results in evaluated[1:]],
                eager=eager[position],
                terms=gradient_terms(pairs, values[name]) if position >= count else 0.0,
            )
            for position, name in enumerate(result_names(spec))
        }


def head_cuts(spec: Spec, sizes: Mapping[str, int], stream: Stream) -> dict[str, tuple[int, int]]:
    """One head, or one group with all of its heads where H = groups x R; empty where neither is so."""
    rule = spec.dims.get(HEADS)
    derived = {name for other in spec.dims.values() if other.name != HEADS for name in other.names}
    if rule is None or HEADS in derived:
        return {}
    if rule.expression is None:
        return {HEADS: (stream.below(sizes[HEADS]), 1)}
    group = rule.names[0]
    if group in derived or sizes[HEADS] % sizes[group]:
        return {}
    width, chosen = sizes[HEADS] // sizes[group], stream.below(sizes[group])
    return {group: (chosen, 1), HEADS: (chosen * width, width)}


def heads_are_alone(session: Session, function: str, seed: int) -> bool:
    """Whether the definition gives a head (or group) the same results without the others.

    Raises Rejected.
    """
    spec = session.mechanism.spec
    small = {"B": 1, "T": 5, "H": 2, "K": 4, "V": 4, "D": 4}
    rule = spec.dims[HEADS]
    small |= dict.fromkeys(rule.names, 2)
    case = Case(
        sizes=tuple((name, small.get(name, spec.dims[name].low)) for name in spec.free_dims()),
        dtype="float32",
    )
    whole = draw_inputs(spec, case, derive(seed, "heads"))
    sizes = spec.resolve(case.size_map)
    both = session.evaluate(function, whole, [oracle_blobs(whole)], "heads").result()[0]
    for number in range(2):
        cuts = head_cuts(spec, sizes, Stream(derive(seed, "heads", number)))
        tensors = [
            _tensor(entry, _cut(tensor.values, entry, cuts), tensor.dtype)
            for tensor, entry in zip((*whole.tensors, *whole.cotangents), argument_entries(spec), strict=True)
        ]
        alone = case_inputs(spec, tensors)
        one = session.evaluate(function, alone, [oracle_blobs(alone)], "heads").result()[0]
        results = (spec.output, *spec.state)
        for result, expected, entry in zip(one[: len(results)], both, results, strict=False):
            if not np.allclose(result, _cut(expected, entry, cuts), rtol=1e-9, atol=1e-12):
                return False
    return True


def argument_entries(spec: Spec) -> list[TensorSpec]:
    """Entries of everything that a plan is given: inputs, params, states, and the cotangents."""
    cotangents = [
        TensorSpec(name=f"d_{name}", dims=entry.dims, dtype=entry.dtype)
        for name, entry in (("output", spec.output), *((entry.name, entry) for entry in spec.state))
    ]
    return [*spec.differentiated, *cotangents]


def case_inputs(spec: Spec, tensors: Sequence[Tensor]) -> CaseInputs:
    """Tensors in the order of `argument_entries`."""
    first, second = len(spec.inputs), len(spec.arguments)
    third = second + len(spec.state)
    return CaseInputs(
        inputs=tuple(tensors[:first]),
        params=tuple(tensors[first:second]),
        state=tuple(tensors[second:third]),
        d_output=tensors[third],
        d_state=tuple(tensors[third + 1 :]),
    )


def _cut(values: Float64, entry: TensorSpec, cuts: Cuts) -> Float64:
    for position, dim in enumerate(entry.dims):
        if dim in cuts:
            start, length = cuts[dim]
            values = np.take(values, range(start, start + length), axis=position)
    return values


def _tensor(entry: TensorSpec, values: Float64, dtype: str) -> Tensor:
    """Values only: what is evaluated by a definition has no layout that matters."""
    layout = Layout.dense(values.shape, dtype)
    return Tensor(name=entry.name, domain=entry.domain, dtype=dtype, values=values, layout=layout, raw=b"")


def _values(blob: bytes, shape: Sequence[int], dtype: str) -> Float64:
    return to_float64(np.frombuffer(blob, FORMATS[dtype].storage), dtype).reshape(tuple(shape))


def _single(tensor: Tensor) -> bytes:
    dtype = np.int64 if tensor.domain == "index" else np.float32
    return np.ascontiguousarray(tensor.values, dtype=dtype).tobytes()
