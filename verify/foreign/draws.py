"""A case's data: values from every domain, how they lie in memory, and their neighbours in the dtype.

Values are exact in the tensor's dtype. What belongs to a buffer but not to the tensor's view is NaN, so a
kernel that reads it is seen in its results.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from verify.dtypes import FORMATS, Float64, narrow, to_float64
from verify.foreign.spec import Case, CotangentKind, Input, LayoutKind, Output, Spec, shape_of, size_of
from verify.judge.inputs import GAP, Tensor, draw, perturbed, place
from verify.judge.random import Stream
from verify.plan.request import Layout, dense_strides
from verify.seeds import derive

SEED = 20
"""Root of everything drawn for foreign specs: there is no mechanism here that could prepare for it."""

STRONG = 35.0
"""Strong gates: log-sigmoids times this, the steepest that published models reach with their gate bias."""

FAR = 1 << 31
"""Elements, beyond which an offset in int32 is negative."""

_PERTURBED_AS = {"log_sigmoid": "log_decay", "boolean": "index", "offsets": "index", "segments": "index"}


def draw_tensors(spec: Spec, case: Case, dtype: str, *, label: str = "") -> dict[str, Tensor]:
    """The inputs of a case, a pure function of its arguments. `label` draws other values of the same kind."""
    return {one.name: _tensor(spec, one, case, dtype, label) for one in spec.case_inputs(case)}


def values_of(one: Input, case: Case, stream: Stream) -> Float64:
    """Values of an input, before they are rounded to its dtype."""
    sizes = case.size_map
    shape = shape_of(one.axes, sizes)
    match one.domain:
        case "log_sigmoid":
            factor = {"typical": 1.0, "strong": STRONG, "none": 0.0}[case.gate]
            return -factor * np.logaddexp(0.0, -stream.normal(shape))
        case "index":
            bound = one.bound if isinstance(one.bound, int) else size_of(one.bound, sizes)
            return np.floor(stream.uniform(shape) * bound)
        case "boolean":
            return np.floor(stream.uniform(shape) * 2.0)
        case "offsets":
            return np.concatenate([[0.0], np.cumsum(case.lengths)])
        case "segments":
            return np.broadcast_to(np.repeat(np.arange(len(case.lengths)), case.lengths), shape).astype(float)
        case "normal":
            return case.scale * stream.normal(shape)
        case _:
            return draw(stream, one.domain, shape, case.gate)


def _tensor(spec: Spec, one: Input, case: Case, dtype: str, label: str) -> Tensor:
    stream = Stream(derive(SEED, spec.name, "input", one.name, case.name, label))
    values = one.shift + one.scale * values_of(one, case, stream)
    domain = _PERTURBED_AS.get(one.domain, one.domain)
    if one.scale != 1.0 or one.shift != 0.0:
        domain = "index" if domain == "index" else "normal"  # no longer inside the domain's borders
    kind = dtype if one.dtype == "io" else one.dtype
    if case.far == one.name:
        return far_apart(one.name, domain, values, kind, one.axes.index("T") if "T" in one.axes else 0)
    return lay_out(one.name, domain, values, kind, case.layout)


def cotangent(
    spec: Spec, one: Output, case: Case, dtype: str, shape: tuple[int, ...], *, label: str = ""
) -> Tensor:
    """A cotangent for one output of the case, of the dtype `dtype`."""
    stream = Stream(derive(SEED, spec.name, "cotangent", one.name, case.name, label))
    values, name = np.zeros(shape), f"d_{one.name}"
    kind: CotangentKind = case.cotangent
    if kind == "one_hot" and values.size:
        values.flat[stream.below(values.size)] = 1.0
    elif kind != "zero":
        values = stream.normal(shape)
    if kind == "expanded" and len(shape) >= 2:
        return _expanded(name, values, dtype)
    layout: LayoutKind = "dense" if kind in ("one_hot", "zero", "expanded", "dense") else _layout_of(kind)
    return lay_out(name, "normal", values, dtype, layout)


def _layout_of(kind: CotangentKind) -> LayoutKind:
    return "transposed" if kind == "transposed" else "gapped"


def lay_out(name: str, domain: str, values: Float64, dtype: str, kind: LayoutKind) -> Tensor:
    """Round `values` to `dtype` and put them into a buffer; what is not theirs there is NaN (ones for
    integers).
    """
    if kind in ("dense", "transposed", "gapped"):
        return place(name, domain, values, dtype, kind)
    form = FORMATS[dtype]
    before, after = (GAP + 5, GAP + 5) if kind == "tail" else (1, 0)
    stored = narrow(values, dtype)
    gap = narrow(np.array(np.nan), dtype) if form.mantissa_bits is not None else np.ones((), form.storage)
    buffer = np.full(before + values.size + after, gap, form.storage)
    buffer[before : before + values.size] = stored.ravel()
    layout = Layout(
        shape=values.shape,
        strides=dense_strides(values.shape),
        offset=before,
        dtype=dtype,
        length=buffer.size,
    )
    return Tensor(
        name=name,
        domain=domain,
        dtype=dtype,
        values=to_float64(stored, dtype),
        layout=layout,
        raw=buffer.tobytes(),
    )


def far_apart(name: str, domain: str, values: Float64, dtype: str, axis: int) -> Tensor:
    """A tensor whose entries along `axis` are so far apart that the last tenth lies beyond 2^31 elements.

    `raw` is empty: such a buffer is only ever addressed, and made where it is used.
    """
    stored = narrow(values, dtype)
    step = -(-FAR // max(1, values.shape[axis] - max(2, values.shape[axis] // 10)))
    inner = [size for at, size in enumerate(values.shape) if at != axis]
    strides = list(dense_strides(inner))
    strides.insert(axis, step)
    last = sum((size - 1) * stride for size, stride in zip(values.shape, strides, strict=True))
    if step < values.size // values.shape[axis]:
        raise ValueError(f"{name}: expected room for {values.shape} between steps of {step} elements")
    layout = Layout(shape=values.shape, strides=tuple(strides), offset=0, dtype=dtype, length=last + 1)
    return Tensor(
        name=name,
        domain=domain,
        dtype=dtype,
        values=to_float64(stored, dtype),
        layout=layout,
        raw=b"",
    )


def _expanded(name: str, values: Float64, dtype: str) -> Tensor:
    """The first slice along dimension 1 for all of it, with stride 0, as `sum` gives gradients."""
    one = narrow(np.ascontiguousarray(values[:, :1]), dtype)
    strides = list(dense_strides(one.shape))
    strides[1] = 0
    layout = Layout(shape=values.shape, strides=tuple(strides), offset=0, dtype=dtype, length=one.size)
    return Tensor(
        name=name,
        domain="normal",
        dtype=dtype,
        values=to_float64(np.broadcast_to(one, values.shape), dtype),
        layout=layout,
        raw=one.tobytes(),
    )


def with_values(tensor: Tensor, values: Float64) -> Tensor:
    """The same tensor, dense, with other values, rounded to its dtype."""
    return place(tensor.name, tensor.domain, values, tensor.dtype, "dense")


def neighbours(tensors: Sequence[Tensor], unit: str, label: str, index: int) -> dict[str, Float64]:
    """Every tensor's values moved by one ulp, up or down; of float32 tensors by one of `unit`'s.

    `unit` is "float32", or "tf32", whose ten explicit bits are those of float16.
    """
    moved = {}
    for tensor in tensors:
        stream = Stream(derive(SEED, "perturbation", label, index, tensor.name))
        if unit == "tf32" and tensor.dtype == "float32" and tensor.domain != "index":
            # relative steps, so that the exponent range of float16 plays no role
            exponent = np.floor(np.log2(np.maximum(np.abs(tensor.values), 2.0**-100)))
            step = np.exp2(exponent - 10.0) * stream.signs(tensor.values.shape)
            new = np.where(tensor.values == 0.0, 0.0, tensor.values + step)
            moved[tensor.name] = np.minimum(new, 0.0) if tensor.domain == "log_decay" else new
        else:
            moved[tensor.name] = perturbed(tensor, stream)
    return moved
