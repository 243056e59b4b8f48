"""The judge's own data: values from each domain, laid out as a case asks, and their neighbours.

A mechanism declares a domain and cannot choose the distribution. Values are exactly representable in the
tensor's dtype; the gaps of a strided layout hold NaN, so a kernel that reads them is seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from verify.dtypes import FORMATS, Float64, narrow, to_float64, ulp
from verify.judge.cases import Case, CotangentKind, GateKind, LayoutKind
from verify.judge.random import Stream
from verify.plan.request import Layout, dense_strides
from verify.seeds import derive
from verify.source.contract import Spec, TensorSpec

GAP = 3
INDEX_BOUND = 16
STRONG_GATE = 40.0


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """One argument of a run: `values` in float64, and how they lie in `raw`, the bytes of the whole
    buffer.
    """

    name: str
    domain: str
    dtype: str
    values: Float64
    layout: Layout
    raw: bytes


@dataclass(frozen=True, kw_only=True)
class CaseInputs:
    """Everything a case feeds: inputs, params and states in SPEC order, and the cotangents of output and
    states.
    """

    inputs: tuple[Tensor, ...]
    params: tuple[Tensor, ...]
    state: tuple[Tensor, ...]
    d_output: Tensor
    d_state: tuple[Tensor, ...]

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return (*self.inputs, *self.params, *self.state)

    @property
    def cotangents(self) -> tuple[Tensor, ...]:
        return (self.d_output, *self.d_state)


def draw_inputs(spec: Spec, case: Case, seed: int) -> CaseInputs:
    """The case's data, a pure function of (spec, case, seed)."""
    sizes = spec.resolve(case.size_map)

    def stream(name: str) -> Stream:
        return Stream(derive(seed, "inputs", case.label, name))

    def tensor(entry: TensorSpec, layout: LayoutKind, *, scale: float = 1.0, zero: bool = False) -> Tensor:
        shape, dtype = entry.shape(sizes), _dtype(entry, case.dtype)
        values = np.zeros(shape) if zero else scale * draw(stream(entry.name), entry.domain, shape, case.gate)
        return place(entry.name, entry.domain, values, dtype, layout)

    def cotangent(entry: TensorSpec) -> Tensor:
        shape, dtype = entry.shape(sizes), _dtype(entry, case.dtype)
        name = f"d_{entry.name}"
        values = _cotangent(stream(name), shape, case.cotangent)
        layout: LayoutKind = "transposed" if case.cotangent == "transposed" else "dense"
        if case.cotangent == "expanded" and len(shape) >= 2:
            return _expanded(name, values, dtype)
        return place(name, "normal", values, dtype, layout)

    return CaseInputs(
        inputs=tuple(
            tensor(entry, case.layout, scale=case.scale if entry.domain == "normal" else 1.0)
            for entry in spec.inputs
        ),
        params=tuple(tensor(entry, "dense") for entry in spec.params),
        state=tuple(tensor(entry, "dense", zero=case.state == "zero") for entry in spec.state),
        d_output=cotangent(spec.output),
        d_state=tuple(cotangent(entry) for entry in spec.state),
    )


def perturbed(tensor: Tensor, stream: Stream) -> Float64:
    """The tensor's values moved to a neighbour in its dtype, up or down at random, and kept inside the
    domain.

    A whole ulp, not the half that rounding costs: a reference could tell values that the dtype cannot hold
    from real ones, and be badly conditioned for these alone. The change of the results is halved instead.
    """
    if tensor.domain == "index":
        return tensor.values
    step = ulp(tensor.values, tensor.dtype)
    if tensor.domain == "log_decay":
        # exp(a) lies in (0, 1] and is itself rounded, however small a is; a recurrence repeats that.
        step = np.maximum(step, 2.0**-23)
    moved = tensor.values + step * stream.signs(tensor.values.shape)
    if tensor.domain != "log_decay":
        moved = np.where(tensor.values == 0.0, 0.0, moved)
    match tensor.domain:
        case "log_decay":
            return np.minimum(moved, 0.0)
        case "unit_interval":
            return np.clip(moved, 0.0, 1.0)
        case "positive":
            return np.maximum(moved, 0.0)
    return moved


def _dtype(entry: TensorSpec, run: str) -> str:
    return run if entry.dtype == "io" else entry.dtype


def draw(stream: Stream, domain: str, shape: tuple[int, ...], gate: GateKind = "typical") -> Float64:
    """Values of a domain. Gates: mostly slow decay with some fast; `strong` reaches -40 a step; `none` is
    exactly 0.
    """
    match domain:
        case "normal":
            return stream.normal(shape)
        case "unit_norm":
            whole = stream.normal_integers(shape) | 1
            length = np.sqrt((whole * whole).sum(axis=-1, keepdims=True).astype(np.float64))
            unit: Float64 = whole.astype(np.float64) / length
            return unit
        case "log_decay":
            uniform = stream.uniform(shape)
            square = uniform * uniform
            factor = {"typical": square * square, "strong": STRONG_GATE * square, "none": 0.0 * square}[gate]
            return -factor
        case "unit_interval":
            return stream.uniform(shape)
        case "positive":
            uniform = stream.uniform(shape)
            return 0.0625 + 4.0 * uniform * uniform
        case "angle":
            return (stream.uniform(shape) - 0.5) * (2.0 * np.pi)
        case "index":
            return np.floor(stream.uniform(shape) * INDEX_BOUND)
    raise ValueError(f"domain {domain}: expected one of the contract's domains")


def _cotangent(stream: Stream, shape: tuple[int, ...], kind: CotangentKind) -> Float64:
    if kind == "zero":
        return np.zeros(shape)
    if kind == "one_hot":
        values = np.zeros(shape)
        if values.size:
            values.flat[stream.below(values.size)] = 1.0
        return values
    return stream.normal(shape)


def replaced(inputs: CaseInputs, values: Mapping[str, Float64], *, exact: bool = False) -> CaseInputs:
    """The same tensors, dense, with other values where `values` names them (as `q`, `d_output`, `d_S`).

    Values are rounded to the tensor's dtype; with `exact` the reference gets them unrounded, for what the
    float64 reference itself has computed.
    """

    def changed(tensor: Tensor) -> Tensor:
        new = values.get(tensor.name, tensor.values)
        placed = place(tensor.name, tensor.domain, new, tensor.dtype, "dense")
        return replace(placed, values=np.ascontiguousarray(new)) if exact else placed

    return CaseInputs(
        inputs=tuple(changed(tensor) for tensor in inputs.inputs),
        params=tuple(changed(tensor) for tensor in inputs.params),
        state=tuple(changed(tensor) for tensor in inputs.state),
        d_output=changed(inputs.d_output),
        d_state=tuple(changed(tensor) for tensor in inputs.d_state),
    )


def place(name: str, domain: str, values: Float64, dtype: str, kind: LayoutKind) -> Tensor:
    """Round `values` to `dtype` and put them into a buffer of the layout; the rest of the buffer is NaN (or
    ones).
    """
    shape = values.shape
    if kind == "transposed" and len(shape) >= 3:
        swapped = (shape[0], shape[2], shape[1], *shape[3:])
        strides = list(dense_strides(swapped))
        strides[1], strides[2] = strides[2], strides[1]
        layout = Layout(shape=shape, strides=tuple(strides), offset=0, dtype=dtype, length=values.size)
    elif kind == "gapped" and len(shape) >= 2:
        padded = (*shape[:-1], shape[-1] + GAP)
        layout = Layout(
            shape=shape,
            strides=dense_strides(padded),
            offset=GAP,
            dtype=dtype,
            length=int(np.prod(padded)) + 2 * GAP,
        )
    else:
        layout = Layout.dense(shape, dtype)
    return _tensor(name, domain, narrow(values, dtype), layout)


def _expanded(name: str, values: Float64, dtype: str) -> Tensor:
    """The first slice along dimension 1 repeated with stride 0, as `expand` gives it."""
    one = narrow(np.ascontiguousarray(values[:, :1]), dtype)
    strides = list(dense_strides(one.shape))
    strides[1] = 0
    layout = Layout(shape=values.shape, strides=tuple(strides), offset=0, dtype=dtype, length=one.size)
    stored = np.broadcast_to(one, values.shape)
    return Tensor(
        name=name,
        domain="normal",
        dtype=dtype,
        values=to_float64(stored, dtype),
        layout=layout,
        raw=one.tobytes(),
    )


def _tensor(name: str, domain: str, stored: npt.NDArray[np.generic], layout: Layout) -> Tensor:
    form = FORMATS[layout.dtype]
    gap = (
        narrow(np.array(np.nan), layout.dtype)
        if form.mantissa_bits is not None
        else np.ones((), form.storage)
    )
    buffer = np.full(layout.length, gap, form.storage)
    view = np.lib.stride_tricks.as_strided(
        buffer[layout.offset :], layout.shape, tuple(stride * form.itemsize for stride in layout.strides)
    )
    view[...] = stored
    return Tensor(
        name=name,
        domain=domain,
        dtype=layout.dtype,
        values=to_float64(stored, layout.dtype),
        layout=layout,
        raw=buffer.tobytes(),
    )


def stack_raw(tensors: Sequence[Tensor]) -> list[bytes]:
    """The values of tensors as contiguous float64 bytes (int64 for `index`), as the oracle takes them."""
    return [
        np.ascontiguousarray(
            tensor.values, dtype=np.int64 if tensor.domain == "index" else np.float64
        ).tobytes()
        for tensor in tensors
    ]
