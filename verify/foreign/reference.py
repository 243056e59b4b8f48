"""The definition of a foreign operator, in float64 and by autograd, and whether it can be believed.

It is run on the case's values, on three neighbours of them, and in float32: what these runs tell apart is
what no kernel can be blamed for (`verify.judge.tolerance`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from verify.dtypes import Float64
from verify.foreign.draws import cotangent, neighbours
from verify.foreign.spec import BrokenSpec, Case, Spec
from verify.judge.inputs import Tensor
from verify.judge.random import Stream
from verify.judge.tolerance import CAP, Truth, gradient_terms, yardstick
from verify.seeds import derive

Results = dict[str, Float64]

PERTURBATIONS = 3
STEP = 1e-6
LIMIT = 1e-5
"""Allowed difference between autograd and central differences of the reference, relative to the gradient."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """What a case should give: a truth for each result by name (`o`, `d_q`, ...), and the cotangents."""

    truths: Mapping[str, Truth]
    cotangents: Mapping[str, Tensor]
    dtypes: Mapping[str, str]


def torch_values(
    tensors: Mapping[str, Tensor], values: Mapping[str, Float64], dtype: torch.dtype
) -> dict[str, Any]:
    """Dense tensors as the reference takes them: floats in `dtype`, integers as they are."""
    found = {}
    for name, tensor in tensors.items():
        array = torch.from_numpy(np.array(values.get(name, tensor.values)))
        kind = getattr(torch, tensor.dtype)
        found[name] = array.to(dtype if kind.is_floating_point else kind)
    return found


def evaluate(
    spec: Spec,
    case: Case,
    tensors: Mapping[str, Tensor],
    cotangents: Mapping[str, Float64],
    *,
    values: Mapping[str, Float64] | None = None,
    dtype: torch.dtype = torch.float64,
) -> Results:
    """Outputs by name, then `d_<input>` where there are cotangents. Raises BrokenSpec where it cannot run."""
    given = torch_values(tensors, values or {}, dtype)
    moving = [
        one.name
        for one in spec.case_inputs(case)
        if one.moves and (case.needs is None or one.name in case.needs)
    ]
    if cotangents:
        for name in moving:
            given[name].requires_grad_()
    outputs = outputs_of(spec, case, _call(spec, case, given))
    results = {name: _array(output) for name, output in outputs.items()}
    if cotangents:
        used = [(outputs[name], values) for name, values in cotangents.items() if outputs[name].requires_grad]
        if not used:
            raise BrokenSpec(f"case {case.name!r}: expected a reference with gradients, got results without")
        found = torch.autograd.grad(
            [output for output, _ in used],
            [given[name] for name in moving],
            [torch.from_numpy(np.array(w)).reshape(output.shape).to(output.dtype) for output, w in used],
            allow_unused=True,
        )
        for name, gradient in zip(moving, found, strict=True):
            results[f"d_{name}"] = _array(torch.zeros_like(given[name]) if gradient is None else gradient)
    return results


def _call(spec: Spec, case: Case, given: Mapping[str, Any]) -> Any:
    try:
        return spec.reference(**given, **case.options)
    except BrokenSpec:
        raise
    except Exception as error:
        raise BrokenSpec(
            f"case {case.name!r}: expected the reference to run, got {type(error).__name__}: {error}"
        ) from error


def outputs_of(spec: Spec, case: Case, returned: Any) -> dict[str, Any]:
    """What a function returned, by the names of the spec's outputs, without those that are None."""
    found = returned if isinstance(returned, tuple) else (returned,)
    if len(found) != len(spec.outputs):
        raise BrokenSpec(
            f"case {case.name!r}: expected {len(spec.outputs)} results, got {len(found)}. Return one for "
            "each entry of `outputs`, None where an option leaves it out"
        )
    return {one.name: value for one, value in zip(spec.outputs, found, strict=True) if value is not None}


def _array(tensor: Any) -> Float64:
    """As float64; a scalar has shape (1,), as the tolerance's windows want it."""
    return np.atleast_1d(np.array(tensor.detach().to(torch.float64).numpy()))


def known(spec: Spec, case: Case, tensors: Mapping[str, Tensor], dtype: str, *, label: str = "") -> Known:
    """The truth about a case. Raises BrokenSpec where the reference is not finite or not a function."""
    first = evaluate(spec, case, tensors, {})
    _check_function(case, first, evaluate(spec, case, tensors, {}))
    entries = {one.name: one for one in spec.outputs if one.name in first}
    dtypes = {name: dtype if one.dtype == "io" else one.dtype for name, one in entries.items()}
    cotangents = {
        name: cotangent(spec, one, case, dtypes[name], first[name].shape, label=label)
        for name, one in entries.items()
        if case.backward and one.differentiable and any(i.moves for i in spec.case_inputs(case))
    }
    dtypes |= {f"d_{name}": tensor.dtype for name, tensor in tensors.items()}
    return Known(
        truths=truths(spec, case, tensors, cotangents, dtype, dtypes), cotangents=cotangents, dtypes=dtypes
    )


def truths(
    spec: Spec,
    case: Case,
    tensors: Mapping[str, Tensor],
    cotangents: Mapping[str, Tensor],
    dtype: str,
    dtypes: Mapping[str, str],
) -> dict[str, Truth]:
    """The truth for each result, with these cotangents. Raises BrokenSpec."""
    weights = {name: tensor.values for name, tensor in cotangents.items()}
    oracle = evaluate(spec, case, tensors, weights)
    _check_finite(case, oracle)
    unit = spec.dot_precision if dtype == "float32" else "float32"
    perturbed = []
    for index in range(PERTURBATIONS):
        moved = neighbours([*tensors.values(), *cotangents.values()], unit, f"{spec.name} {case.name}", index)
        dual = {name: moved.get(f"d_{name}", values) for name, values in weights.items()}
        perturbed.append(evaluate(spec, case, tensors, dual, values=moved))
    eager = evaluate(spec, case, tensors, weights, dtype=torch.float32)
    pairs = [(oracle[name], values) for name, values in weights.items()]
    found = {}
    for name, values in oracle.items():
        terms = gradient_terms(pairs, tensors[name[2:]].values) if name.startswith("d_") and pairs else 0.0
        found[name] = Truth(
            oracle=values, perturbed=[other[name] for other in perturbed], eager=eager[name], terms=terms
        )
        _check_condition(spec, case, name, found[name], dtype, dtypes[name])
    return found


def _check_function(case: Case, one: Results, other: Results) -> None:
    for name, values in one.items():
        if not np.array_equal(values, other[name], equal_nan=True):
            raise BrokenSpec(
                f"case {case.name!r}: {name} of the reference differs between two runs on the same values; "
                "expected a function of its arguments. Remove randomness and state from it"
            )


def _check_finite(case: Case, results: Results) -> None:
    for name, values in results.items():
        if not np.isfinite(values).all():
            where = tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])
            raise BrokenSpec(
                f"case {case.name!r}: expected a finite reference in float64, got {values[where]} in "
                f"{name}{list(where)}. Use other domains, or write the reference so that it does not overflow"
            )


def _check_condition(spec: Spec, case: Case, name: str, truth: Truth, dtype: str, result_dtype: str) -> None:
    """A reference that amplifies rounding beyond the cap says nothing about any kernel."""
    tight = dtype == "float32" and spec.dot_precision == "ieee"
    cap = CAP[dtype if tight or dtype != "float32" else "float16"]
    change = yardstick(truth.oracle, truth.perturbed, result_dtype)
    size = max(float(np.sqrt(np.mean(truth.oracle**2))) if truth.oracle.size else 0.0, truth.terms)
    level = float(np.sqrt(np.mean(change**2))) if change.size else 0.0
    if size > 0.0 and level > cap * size:
        raise BrokenSpec(
            f"case {case.name!r}, {dtype}: {name} of the reference changes by {level / size:.2g} of its size "
            f"when the inputs move by one rounding; expected at most {cap:g}. Choose milder inputs"
        )


def check_gradients(
    spec: Spec, case: Case, tensors: Mapping[str, Tensor], cotangents: Mapping[str, Tensor]
) -> None:
    """Autograd of the reference against central differences in float64. Raises BrokenSpec.

    This is also what shows a reference that computes in less than float64: its differences are noise.
    """
    weights = {name: tensor.values for name, tensor in cotangents.items()}
    if not weights:
        return
    gradients = evaluate(spec, case, tensors, weights)
    for name, tensor in tensors.items():
        if f"d_{name}" not in gradients:
            continue
        stream = Stream(derive(0, "differences", spec.name, name))
        direction = stream.signs(tensor.values.shape)
        base = _inside(tensor)
        gradient = evaluate(spec, case, tensors, weights, values={name: base})[f"d_{name}"]
        losses = []
        for sign in (1.0, -1.0):
            moved = evaluate(spec, case, tensors, {}, values={name: base + sign * STEP * direction})
            losses.append(sum(float(np.sum(moved[key] * values)) for key, values in weights.items()))
        claimed, measured = float(np.sum(gradient * direction)), (losses[0] - losses[1]) / (2.0 * STEP)
        scale = float(np.sqrt(np.sum(gradient * gradient)))
        noise = 100.0 * max(abs(loss) for loss in losses) * 1e-15 / STEP
        if not abs(claimed - measured) <= LIMIT * (scale + abs(measured)) + noise:
            raise BrokenSpec(
                f"case {case.name!r}: d_{name} of the reference is {claimed:.9g} by autograd and "
                f"{measured:.9g} by central differences; expected the same. Compute in the dtype of "
                "the arguments, without detach and without kinks"
            )


def _inside(tensor: Tensor) -> Float64:
    """Two steps away from the border of a bounded domain."""
    match tensor.domain:
        case "log_decay":
            return np.minimum(tensor.values, -2.0 * STEP)
        case "unit_interval":
            return np.clip(tensor.values, 2.0 * STEP, 1.0 - 2.0 * STEP)
    return tensor.values
