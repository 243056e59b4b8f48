"""What a mechanism computes, apart from how it is written: its output on inputs that only depend on shapes.

The digest in a verdict lets candidates be compared without running them again. Against the released templates
the reference itself is run, with every assignment of equal inputs, so that renaming hides nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from verify.dtypes import Float64
from verify.judge.cases import Case
from verify.judge.experiment import rms
from verify.judge.inputs import CaseInputs, Tensor, draw, draw_inputs, replaced
from verify.judge.random import Stream
from verify.judge.session import Rejected, Session, oracle_blobs
from verify.seeds import derive
from verify.source.contract import Spec, TensorSpec

SIZES = {"B": 1, "T": 151, "H": 2, "K": 23, "V": 17, "D": 19}
"""No powers, at which different scales coincide, and more tokens than common windows."""

OTHER_SIZE = 2
NUMBERS = 16
"""Sums with random signs that a digest holds; unlike elements, each of them sees the whole output."""

SAME = 1e-3
"""Outputs closer than this, relative to their size, are one mechanism: noise is no invention."""

LOOSELY = 1e-2
"""The same for a free mechanism beside a released one, once a factor is fitted; and the influence below which
an input of it is left out.
"""

MOST_ASSIGNMENTS = 24


def behaviour(session: Session) -> str:
    """Sixteen sums over the output, in hex, each rounded to 12 bits: `digest_numbers` reads them.

    The inputs depend on the SPEC's shapes and domains, not on names. Raises Rejected.
    """
    output = outputs_on(session, case_inputs(session.mechanism.spec))
    signs = Stream(derive(0, "behaviour", "signs")).signs((NUMBERS, output.size))
    sums = signs @ output.ravel() / np.sqrt(output.size)
    return "".join(_rounded(value) for value in sums)


def digest_numbers(digest: str) -> Float64:
    """The sums of a digest. Raises ValueError for anything else."""
    if len(digest) != 8 * NUMBERS:
        raise ValueError(f"expected {8 * NUMBERS} hex digits, got {len(digest)}")
    return np.frombuffer(bytes.fromhex(digest), ">f4").astype(np.float64)


def same_behaviour(first: str, second: str) -> bool:
    """Do two digests speak of one function, up to `SAME`? Only meaningful for equal signatures."""
    numbers, others = digest_numbers(first), digest_numbers(second)
    return rms(numbers - others) <= SAME * max(rms(numbers), rms(others))


def signature(spec: Spec) -> tuple[object, ...]:
    """Shapes and domains of inputs and params, and the output's shape: what two digests must share."""
    sizes = spec.resolve(dict(_case(spec).sizes))
    tensors = [(entry.shape(sizes), entry.domain) for entry in spec.arguments]
    return (len(spec.inputs), *tensors, spec.output.shape(sizes))


def same_as_known(session: Session, known: Session, *, loosely: bool) -> bool:
    """Does the known mechanism, under some assignment of inputs, compute the candidate's output?

    `loosely` fits one factor, and leaves out inputs and params that hardly matter. Raises Rejected.
    """
    inputs = case_inputs(session.mechanism.spec)
    expected = outputs_on(session, inputs)
    limit = (LOOSELY if loosely else SAME) * rms(expected)
    kept = _that_matter(session, inputs, expected) if loosely else inputs
    for assigned in itertools.islice(_assignments(kept, known.mechanism.spec), MOST_ASSIGNMENTS):
        try:
            got = outputs_on(known, assigned)
        except Rejected:
            continue
        if got.shape != expected.shape:
            continue
        size = float(np.sum(got * got))
        factor = float(np.sum(got * expected)) / size if loosely and size > 0.0 else 1.0
        if rms(factor * got - expected) <= limit:
            return True
    return False


def _that_matter(session: Session, inputs: CaseInputs, expected: Float64) -> CaseInputs:
    """The inputs and params that the output follows by more than LOOSELY."""

    def matters(tensor: Tensor) -> bool:
        stream = Stream(derive(0, "behaviour", "other", tensor.name))
        other = {tensor.name: draw(stream, tensor.domain, tensor.values.shape)}
        return rms(outputs_on(session, replaced(inputs, other)) - expected) > LOOSELY * rms(expected)

    return replace(
        inputs,
        inputs=tuple(tensor for tensor in inputs.inputs if matters(tensor)),
        params=tuple(tensor for tensor in inputs.params if matters(tensor)),
    )


def case_inputs(spec: Spec) -> CaseInputs:
    """The inputs of the comparison: drawn by position, states zero."""
    return draw_inputs(_unnamed(spec), _case(spec), derive(0, "behaviour"))


def outputs_on(session: Session, inputs: CaseInputs) -> Float64:
    """The float64 reference's output on these inputs. Raises Rejected."""
    asked = session.evaluate("reference", inputs, [oracle_blobs(inputs)], "behaviour", gradients=False)
    return asked.result()[0][0]


def _case(spec: Spec) -> Case:
    sizes = []
    for name in spec.free_dims():
        rule = spec.dims[name]
        size = SIZES.get(name, OTHER_SIZE)
        sizes.append((name, max(rule.low, min(size, rule.high or size))))
    return Case(sizes=tuple(sizes), dtype="float32", state="zero")


def _unnamed(spec: Spec) -> Spec:
    """The SPEC with tensors named by position, since names seed what is drawn."""

    def numbered(entries: Sequence[TensorSpec], kind: str) -> tuple[TensorSpec, ...]:
        return tuple(replace(entry, name=f"{kind}{index}") for index, entry in enumerate(entries))

    return replace(
        spec,
        inputs=numbered(spec.inputs, "input"),
        params=numbered(spec.params, "param"),
        state=numbered(spec.state, "state"),
    )


def _rounded(value: float) -> str:
    """A float32 with 12 bits of mantissa, so that another machine's last bits do not show."""
    mantissa, exponent = np.frexp(value)
    short = np.ldexp(np.rint(mantissa * 4096.0) / 4096.0, exponent)
    return np.asarray(short, ">f4").tobytes().hex()


def _assignments(inputs: CaseInputs, known: Spec) -> Iterator[CaseInputs]:
    """The candidate's inputs and params in every order that fits the known SPEC; states of it are zero."""
    if len(inputs.inputs) != len(known.inputs) or len(inputs.params) != len(known.params):
        return
    for order in _in_order(inputs.inputs, known.inputs):
        for others in _in_order(inputs.params, known.params):
            tensors = [*order, *others, inputs.d_output]
            for sizes in _fitting(known, [tensor.values.shape for tensor in tensors]):
                case = Case(sizes=tuple(sizes.items()), dtype="float32", state="zero")
                drawn = draw_inputs(known, case, 0)
                yield replace(drawn, inputs=order, params=others)


def _in_order(tensors: Sequence[Tensor], entries: Sequence[TensorSpec]) -> Iterator[tuple[Tensor, ...]]:
    """The tensors in every order in which their domains fit. A decay may be given as itself or as its log."""
    for order in itertools.permutations(tensors):
        fitted = [_as_domain(tensor, entry.domain) for tensor, entry in zip(order, entries, strict=True)]
        if all(tensor is not None for tensor in fitted):
            yield tuple(tensor for tensor in fitted if tensor is not None)


def _as_domain(tensor: Tensor, domain: str) -> Tensor | None:
    if tensor.domain == domain:
        return tensor
    if (tensor.domain, domain) == ("unit_interval", "log_decay"):
        return replace(tensor, domain=domain, values=np.log(np.maximum(tensor.values, 1e-30)))
    return None


def _fitting(known: Spec, shapes: Sequence[tuple[int, ...]]) -> Iterator[Mapping[str, int]]:
    """Sizes of the known SPEC's free dimensions under which its tensors have these shapes."""
    seen: dict[str, int] = {}
    for entry, shape in zip((*known.arguments, known.output), shapes, strict=True):
        if len(entry.dims) != len(shape):
            return
        for dim, size in zip(entry.dims, shape, strict=True):
            if seen.setdefault(dim, size) != size:
                return
    free = known.free_dims()
    unseen = [name for name in free if name not in seen]
    for choice in itertools.product(range(1, 9), repeat=len(unseen)):
        sizes = {name: seen[name] for name in free if name in seen} | dict(zip(unseen, choice, strict=True))
        try:
            resolved = known.resolve(sizes)
        except ValueError:
            continue
        if all(resolved[dim] == size for dim, size in seen.items()):
            yield sizes
            return
