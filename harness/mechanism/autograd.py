"""Call a mechanism on tensors, differentiably: what the judge admitted, as a function of PyTorch.

One `autograd.Function` serves every mechanism; its inputs are the tensors in SPEC order. Everything that
backward needs goes through `save_for_backward`, so a call can be used twice in a graph, interleaved with
others, checkpointed, and run backward twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import torch

from harness.mechanism.backends import (
    EagerForm,
    InterpretedRunner,
    Plans,
    Runner,
    dtype_name,
    torch_dtype,
)
from verify.device.runner import DevicePlanRunner, carried
from verify.plan.format import Plan
from verify.plan.request import Layout
from verify.source.contract import Spec, TensorSpec
from verify.source.static import Mechanism

Backend = Literal["auto", "parallel", "kernels"]
BACKENDS: tuple[Backend, ...] = ("auto", "parallel", "kernels")
State = tuple[torch.Tensor, ...]


@dataclass(frozen=True, kw_only=True)
class BoundMechanism:
    """A mechanism that can be called. `admission` is what its verdict says, None without a verdict."""

    mechanism: Mechanism
    path: str
    admission: str | None = None

    @property
    def spec(self) -> Spec:
        return self.mechanism.spec

    @cached_property
    def eager(self) -> EagerForm:
        return EagerForm(self.mechanism)

    @cached_property
    def plans(self) -> Plans:
        return Plans(self.mechanism)

    @cached_property
    def _interpreter(self) -> InterpretedRunner:
        return InterpretedRunner(self.mechanism)

    @cached_property
    def _device(self) -> DevicePlanRunner:
        return DevicePlanRunner.of(self.mechanism)

    def __call__(
        self,
        *arguments: torch.Tensor,
        state: Sequence[torch.Tensor] | None = None,
        backend: Backend = "auto",
        tuning: int = 0,
    ) -> tuple[torch.Tensor, State]:
        """Output, e.g. (B, T, H, V) in the io dtype, and the new state, each in its SPEC dtype.

        `arguments` are inputs then params, in SPEC order and dtype: `io` entries all in one dtype of the
        contract, the others in float32 (under autocast both are cast); `state` None means zeros. `backend`
        "auto" takes the kernels on a CUDA device and the PyTorch form elsewhere; "kernels" on a CPU runs
        them in the interpreter. `tuning` is an index into TUNING. The PyTorch form is differentiable any
        number of times, the kernels once.

        Raises TypeError for a wrong dtype or number of tensors, ValueError for sizes, devices or options
        that do not fit.
        """
        self._check_options(backend, tuning)
        states = tuple(state) if state is not None else ()
        _check_counts(self.spec, arguments, states, stateless=state is None)
        device = _one_device((*arguments, *states))
        entries = (*self.spec.arguments, *self.spec.state)
        tensors = _autocast(entries, (*arguments, *states), device)
        io = _io_dtype(self.spec, tensors, device)
        sizes = _sizes(entries, tensors, self.spec)
        if state is None:
            tensors = (*tensors, *zero_state(self.spec, sizes, io, device))
        _check_dtypes(entries, tensors, io)
        with torch.autocast(device.type, enabled=False):
            if backend == "parallel" or (backend == "auto" and device.type != "cuda"):
                count = len(self.spec.arguments)
                return self.eager(tensors[:count], tensors[count:], io)
            return self._launch(tensors, Layout.dense(self.spec.output.shape(sizes), dtype_name(io)), tuning)

    def _launch(self, tensors: State, output: Layout, tuning: int) -> tuple[torch.Tensor, State]:
        device = tensors[0].device.type
        if device not in ("cpu", "cuda"):
            raise ValueError(
                f"backend kernels: expected tensors on cpu or cuda, got {device}. Use backend='parallel'."
            )
        wanted = torch.is_grad_enabled()
        differentiable = zip(tensors, self.spec.differentiated, strict=True)
        needs = tuple(
            wanted and tensor.requires_grad and entry.differentiable for tensor, entry in differentiable
        )
        plan = self.plans.plan(tensors, output, needs if any(needs) else None, tuning)
        runner: Runner = self._device if device == "cuda" else self._interpreter
        names = tuple(entry.name for entry in self.spec.differentiated)
        states = tuple(entry.name for entry in self.spec.state)
        call = _Call(
            runner=runner, plan=plan, names=names, cotangents=("d_output", *(f"d_{n}" for n in states))
        )
        if any(needs):
            results = _KernelFunction.apply(call, *tensors)
        else:
            results = runner.forward(
                plan, dict(zip(names, (t.detach() for t in tensors), strict=True))
            ).results
        return results[0], tuple(results[1:])

    def _check_options(self, backend: str, tuning: int) -> None:
        if backend not in BACKENDS:
            raise ValueError(f"backend: expected one of {', '.join(BACKENDS)}, got {backend!r}")
        if not 0 <= tuning < len(self.mechanism.tuning):
            raise ValueError(f"tuning: expected an index below {len(self.mechanism.tuning)}, got {tuning}")


def zero_state(spec: Spec, sizes: dict[str, int], io: torch.dtype, device: torch.device) -> State:
    """The state before the first token: zeros, each entry in its SPEC dtype."""
    return tuple(
        torch.zeros(entry.shape(sizes), dtype=torch_dtype(entry, io), device=device) for entry in spec.state
    )


def _check_counts(spec: Spec, arguments: Sequence[Any], states: Sequence[Any], *, stateless: bool) -> None:
    if len(arguments) != len(spec.arguments):
        names = ", ".join(entry.name for entry in spec.arguments)
        raise TypeError(f"expected {len(spec.arguments)} tensors ({names}), got {len(arguments)}")
    if not stateless and len(states) != len(spec.state):
        names = ", ".join(entry.name for entry in spec.state) or "none"
        raise TypeError(f"state: expected {len(spec.state)} tensors ({names}), got {len(states)}")


def _one_device(tensors: Sequence[torch.Tensor]) -> torch.device:
    devices = sorted({str(tensor.device) for tensor in tensors})
    if len(devices) != 1:
        raise ValueError(f"expected all tensors on one device, got {', '.join(devices)}")
    return tensors[0].device


def _autocast(entries: Sequence[TensorSpec], tensors: Sequence[torch.Tensor], device: torch.device) -> State:
    """Under autocast, floating tensors cast to the dtypes of the contract, but for float64."""
    if not torch.is_autocast_enabled(device.type):
        return tuple(tensors)
    io = torch.get_autocast_dtype(device.type)
    pairs = zip(entries, tensors, strict=False)  # without a state given, there are fewer tensors
    return tuple(
        tensor.to(torch_dtype(entry, io))
        if tensor.is_floating_point() and tensor.dtype != torch.float64
        else tensor
        for entry, tensor in pairs
    )


def _io_dtype(spec: Spec, tensors: Sequence[torch.Tensor], device: torch.device) -> torch.dtype:
    found = [t.dtype for entry, t in zip(spec.arguments, tensors, strict=False) if entry.dtype == "io"]
    if not found:
        enabled = torch.is_autocast_enabled(device.type)
        found = [torch.get_autocast_dtype(device.type) if enabled else torch.float32]
    if dtype_name(found[0]) not in spec.dtypes:
        raise TypeError(f"expected io tensors in one of {', '.join(spec.dtypes)}, got {dtype_name(found[0])}")
    return found[0]


def _check_dtypes(entries: Sequence[TensorSpec], tensors: Sequence[torch.Tensor], io: torch.dtype) -> None:
    for entry, tensor in zip(entries, tensors, strict=True):
        expected = torch_dtype(entry, io)
        if tensor.dtype != expected:
            why = "like the first io tensor" if entry.dtype == "io" else "by its SPEC"
            raise TypeError(
                f"{entry.name}: expected {dtype_name(expected)} ({why}), got {dtype_name(tensor.dtype)}. "
                "Cast it."
            )


def _sizes(entries: Sequence[TensorSpec], tensors: Sequence[torch.Tensor], spec: Spec) -> dict[str, int]:
    """Every dimension's size, read off the tensors that are given."""
    found: dict[str, int] = {}
    for entry, tensor in zip(entries, tensors, strict=False):
        if tensor.dim() != len(entry.dims):
            raise ValueError(
                f"{entry.name}: expected the dimensions ({', '.join(entry.dims)}), "
                f"got the shape {tuple(tensor.shape)}"
            )
        for dim, size in zip(entry.dims, tensor.shape, strict=True):
            if found.setdefault(dim, size) != size:
                raise ValueError(
                    f"{entry.name}: expected {dim} = {found[dim]} as in earlier tensors, got {size}"
                )
    return spec.infer(found)


@dataclass(frozen=True, kw_only=True)
class _Call:
    """One call of the kernels: plan arguments of its tensors (`names`) and of its results' cotangents."""

    runner: Runner
    plan: Plan
    names: tuple[str, ...]
    cotangents: tuple[str, ...]


class _KernelFunction(torch.autograd.Function):
    """Forward and backward of a launch plan. Non-tensor input: the `_Call`; tensors in SPEC order."""

    @staticmethod
    def forward(ctx: Any, call: _Call, *tensors: torch.Tensor) -> State:
        done = call.runner.forward(call.plan, dict(zip(call.names, tensors, strict=True)))
        ctx.call, ctx.runs = call, 0
        # Results that backward reads again are saved too, so that autograd notices if somebody modifies them.
        ctx.save_for_backward(*tensors, *done.shared, *done.kept)
        return done.results

    @staticmethod
    def backward(ctx: Any, *cotangents: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        call: _Call = ctx.call
        saved = ctx.saved_tensors  # read once: activation checkpointing allows no more
        tensors, kept = saved[: len(call.names)], saved[len(saved) - len(carried(call.plan)) :]
        arguments = dict(zip(call.names, (tensor.detach() for tensor in tensors), strict=True))
        with torch.no_grad():
            if ctx.runs:  # a plan may use up what forward kept, so a second run (retain_graph) makes it anew
                kept = call.runner.forward(call.plan, arguments).kept
            ctx.runs += 1
            dense = (cotangent.detach().contiguous() for cotangent in cotangents)
            arguments.update(zip(call.cotangents, dense, strict=True))
            gradients = call.runner.backward(call.plan, arguments, kept)
        wanted = ctx.needs_input_grad[1:]
        gradients = tuple(g if need else None for g, need in zip(gradients, wanted, strict=True))
        if torch.is_grad_enabled():
            gradients = _mark_once(gradients, (*cotangents, *tensors))
        return (None, *gradients)


class _Once(torch.autograd.Function):
    """The first `count` tensors, tied to all others by a node that refuses to be differentiated."""

    @staticmethod
    def forward(_: Any, count: int, *tensors: torch.Tensor) -> State:
        return tuple(tensor.clone() for tensor in tensors[:count])

    @staticmethod
    def backward(*_: Any) -> None:
        raise RuntimeError(
            "double backward through a mechanism's kernels: expected to be differentiated once only, their "
            "backward has no derivative. Use backend='parallel' where second derivatives are needed."
        )


def _mark_once(
    gradients: Sequence[torch.Tensor | None], origins: Sequence[torch.Tensor]
) -> tuple[torch.Tensor | None, ...]:
    """The gradients under create_graph=True: they depend on `origins`, but nobody can say how.

    `once_differentiable` of PyTorch forgets the dependence on saved inputs, and then drops their second
    derivatives.
    """
    present = [gradient for gradient in gradients if gradient is not None]
    anchors = [tensor for tensor in origins if tensor.requires_grad]
    marked = iter(_Once.apply(len(present), *present, *anchors))
    return tuple(None if gradient is None else next(marked) for gradient in gradients)
