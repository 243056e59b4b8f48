"""Run a library's operator on a case, through the host that carries its launches to the interpreter."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from verify.dtypes import FORMATS, Float64
from verify.foreign.draws import values_of
from verify.foreign.hosting import Event, dry, watched
from verify.foreign.reference import outputs_of
from verify.foreign.spec import INTEGER_DOMAINS, BrokenSpec, Case, Spec, shape_of
from verify.judge.inputs import Tensor
from verify.judge.random import Stream
from verify.triton_cpu.counting.storages import lazy_zeros
from verify.triton_cpu.host.tuning import Policy
from verify.triton_cpu.interpreter.launch import KernelError, WorkLimitExceeded


class Refused(Exception):
    """The library did not give results: `rule` says which kind of failure the text describes."""

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule = rule


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to run: the byte that unwritten memory holds, the order of programs, which of an autotuner's
    configurations is taken, and whether a dot of float32 whose precision the kernel leaves open is exact
    (else as the compiler's default has it).
    """

    poison: int = 0xFF
    exact: bool = True
    order: Literal["forward", "reverse"] = "forward"
    policy: Literal["first", "last"] = "first"
    sanitizer: bool = True


@dataclass(kw_only=True)
class Ran:
    """What a run left: results by name (outputs, `d_<input>`), their dtypes, inputs that changed, events."""

    results: dict[str, Float64] = field(default_factory=dict)
    dtypes: dict[str, str] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    launches: list[Any] = field(default_factory=list)
    float_atomics: tuple[str, ...] = ()


class Given:
    """A tensor as the library gets it: a view of its own storage, laid out as the case says."""

    def __init__(self, tensor: Tensor) -> None:
        kind, layout = getattr(torch, tensor.dtype), tensor.layout
        self.name = tensor.name
        far = not tensor.raw and layout.length > 0
        nbytes = layout.length * FORMATS[tensor.dtype].itemsize
        if far:  # pages that nobody writes to are never made
            self.bytes = torch.from_numpy(lazy_zeros(nbytes))
        else:  # a clone has the allocator's own alignment, at least 64 bytes
            self.bytes = torch.from_numpy(np.frombuffer(tensor.raw, np.uint8).copy()).clone()
        self.view = self.bytes.view(kind).as_strided(layout.shape, layout.strides, layout.offset)
        if far:
            self.view.copy_(torch.from_numpy(tensor.values))
        self._watched = self.view if far else self.bytes
        self._before = self._watched.clone()

    @property
    def changed(self) -> bool:
        return not _same_bits(self._before, self._watched)


def _same_bits(one: Any, two: Any) -> bool:
    return bool(torch.equal(one.contiguous().view(torch.uint8), two.contiguous().view(torch.uint8)))


def run(
    spec: Spec,
    case: Case,
    tensors: Mapping[str, Tensor],
    cotangents: Mapping[str, Tensor],
    settings: Settings,
) -> Ran:
    """Outputs, and gradients where there are cotangents. Raises Refused."""
    given = {name: Given(tensor) for name, tensor in tensors.items()}
    duals = {name: Given(tensor) for name, tensor in cotangents.items()}
    moving = [
        one.name
        for one in spec.case_inputs(case)
        if cotangents and one.moves and (case.needs is None or one.name in case.needs)
    ]
    leaves = {
        name: one.view.detach().requires_grad_(name in moving and one.view.dtype.is_floating_point)
        for name, one in given.items()
    }
    ran = Ran()
    with watched(
        poison=settings.poison,
        exact=settings.exact,
        order=settings.order,
        policy=settings.policy,
        sanitizer=settings.sanitizer,
        loop_steps=spec.loop_steps,
    ) as watch:
        outputs = _guarded(lambda: outputs_of(spec, case, spec.call(**leaves, **case.options)))
        for name, output in outputs.items():
            _keep(ran, name, output)
        used = [name for name in duals if name in outputs and outputs[name].requires_grad]
        if moving and used:
            gradients = _guarded(
                lambda: torch.autograd.grad(
                    [outputs[name] for name in used],
                    [leaves[name] for name in moving],
                    [_dual(duals[name], outputs[name]) for name in used],
                    allow_unused=True,
                )
            )
            for name, gradient in zip(moving, gradients, strict=True):
                if gradient is not None:
                    _keep(ran, f"d_{name}", gradient)
    ran.changed = [one.name for one in (*given.values(), *duals.values()) if one.changed]
    ran.events, ran.launches, ran.float_atomics = watch.events, watch.launches, watch.float_atomics
    return ran


def zeros_of(spec: Spec, case: Case, dtype: str, *, fill: float = 0.0) -> dict[str, Any]:
    """Tensors of the case: floats all `fill`, integers as the case draws them, gradients as asked."""
    found = {}
    for one in spec.case_inputs(case):
        kind = getattr(torch, dtype if one.dtype == "io" else one.dtype)
        if one.domain in INTEGER_DOMAINS:
            found[one.name] = torch.from_numpy(np.array(values_of(one, case, Stream(0)))).to(kind)
            continue
        needed = case.backward and one.moves and (case.needs is None or one.name in case.needs)
        shape = shape_of(one.axes, case.size_map)
        found[one.name] = torch.full(shape, fill, dtype=kind, requires_grad=needed)
    return found


def record(spec: Spec, case: Case, dtype: str, *, policy: Policy = "first", keep: bool = False) -> list[Any]:
    """The launches of a case, forward and backward, without running any: zeros go in, nothing is computed.

    `keep` keeps their tensors. Raises Refused, as a library does that looks at values.
    """
    leaves = zeros_of(spec, case, dtype)
    with dry(policy, keep=keep) as watch:
        outputs = _guarded(lambda: outputs_of(spec, case, spec.call(**leaves, **case.options)))
        used = [output for output in outputs.values() if output.requires_grad]
        moving = [leaf for leaf in leaves.values() if leaf.requires_grad]
        if used and moving:
            duals = [torch.ones_like(output) for output in used]
            _guarded(lambda: torch.autograd.grad(used, moving, duals, allow_unused=True))
    return watch.launches


def _dual(given: Given, output: Any) -> Any:
    """The cotangent in the output's own dtype and, for a scalar, shape, which is what autograd asks for."""
    view = given.view if output.dim() else given.view.reshape(())
    return view if view.dtype == output.dtype else view.to(output.dtype)


def _keep(ran: Ran, name: str, tensor: Any) -> None:
    ran.results[name] = np.atleast_1d(np.array(tensor.detach().to(torch.float64).numpy()))
    ran.dtypes[name] = str(tensor.dtype).removeprefix("torch.")


def _guarded(work: Any) -> Any:
    """Whatever the library raises becomes Refused, with the place in its own files."""
    try:
        return work()
    except (BrokenSpec, MemoryError):
        raise
    except KernelError as error:
        raise Refused("NUM-KERNEL-ERROR", f"kernel {error}") from error
    except WorkLimitExceeded as error:
        raise Refused("NUM-WORK-LIMIT", f"a kernel does not end, or not soon: {error}") from error
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        ours = Path(__file__).resolve().parents[1]
        place = next((f for f in reversed(frames) if not Path(f.filename).is_relative_to(ours)), frames[-1])
        where = f"{Path(place.filename).name}:{place.lineno}"
        text = str(error).strip().split("\n", 1)[0][:300]
        raise Refused("CON-WRAPPER-ERROR", f"{where} raised {type(error).__name__}: {text}") from error
