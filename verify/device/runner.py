"""Run plans on a CUDA device: buffers from PyTorch's allocator, kernels compiled from source by Triton.

Kernels come from `load_kernels` and plans from a tracer: no candidate Python runs here. Nothing is kept
between forward and backward; what backward needs is returned as tensors, for autograd to hold.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import triton.language as tl

from verify.plan.format import Argument, Copy, DtypeName, Fill, Launch, Plan, Step, TensorRef
from verify.source.static import Mechanism, blank_out
from verify.triton_cpu.interpreter.launch import load_kernels


@dataclass(frozen=True, kw_only=True)
class Forward:
    """Results of forward, and what autograd must hold until backward.

    `kept` are the buffers of `carried(plan)`, as uint8 tensors; `shared` those results whose memory is
    among them.
    """

    results: tuple[torch.Tensor, ...]
    kept: tuple[torch.Tensor, ...]
    shared: tuple[torch.Tensor, ...]


def carried(plan: Plan) -> tuple[int, ...]:
    """The scratch buffers that backward takes over from forward, in ascending order."""
    if plan.gradients is None:
        return ()
    before = _touched(plan.forward) | _buffers((*plan.residuals, plan.output, *plan.state))
    after = _touched(plan.backward) | _buffers(plan.gradients)
    return tuple(sorted(index for index in before & after if plan.buffers[index].argument is None))


def _touched(steps: Sequence[Step]) -> set[int]:
    touched: set[int] = set()
    for step in steps:
        if isinstance(step, Launch):
            touched |= _buffers([value for _, value in step.arguments])
        else:
            touched |= _buffers([step.out, step.source] if isinstance(step, Copy) else [step.out])
    return touched


def _buffers(values: Sequence[Argument]) -> set[int]:
    return {value.buffer for value in values if isinstance(value, TensorRef)}


class DevicePlanRunner:
    """Runs plans on a CUDA device: buffers from PyTorch's allocator, kernels compiled by Triton."""

    def __init__(self, kernels: Mapping[str, Any]) -> None:
        """`kernels` maps names to `triton.jit` functions, as `load_kernels` gives them."""
        self._kernels = kernels

    @classmethod
    def of(cls, mechanism: Mechanism) -> DevicePlanRunner:
        return cls(
            load_kernels(
                blank_out(mechanism.source, keep="kernels"), f"<mechanism {mechanism.source_hash[:8]}>"
            )
        )

    def forward(self, plan: Plan, arguments: Mapping[str, torch.Tensor]) -> Forward:
        memory = _Memory(plan, arguments)
        self._run(plan.forward, memory)
        keep = carried(plan)
        kept = tuple(memory.whole(index) for index in keep)
        refs = (plan.output, *plan.state)
        results = tuple(memory.result(ref, refs[:number]) for number, ref in enumerate(refs))
        shared = tuple(result for result, ref in zip(results, refs, strict=True) if ref.buffer in keep)
        return Forward(results=results, kept=kept, shared=shared)

    def backward(
        self, plan: Plan, arguments: Mapping[str, torch.Tensor], kept: Sequence[torch.Tensor]
    ) -> tuple[torch.Tensor | None, ...]:
        memory = _Memory(plan, arguments)
        memory.restore(dict(zip(carried(plan), kept, strict=True)))
        self._run(plan.backward, memory)
        refs = plan.gradients or ()
        carry = set(carried(plan))
        gradients: list[torch.Tensor | None] = []
        for number, ref in enumerate(refs):
            if ref is None:
                gradients.append(None)
                continue
            earlier = [other for other in refs[:number] if other is not None]
            gradient = memory.result(ref, earlier)
            gradients.append(gradient.clone() if ref.buffer in carry else gradient)
        return tuple(gradients)

    def _run(self, steps: Sequence[Step], memory: _Memory) -> None:
        with torch.no_grad(), torch.cuda.device_of(memory.anchor):
            for step in steps:
                bind(step, self._kernels, memory.view)()


def bind(
    step: Step, kernels: Mapping[str, Any], view: Callable[[TensorRef], torch.Tensor]
) -> Callable[[], object]:
    """One step as a call without arguments. `view` gives the tensor of a reference, once, here.

    The call is asynchronous on a device, and to be made under `torch.no_grad()`.
    """
    if isinstance(step, Fill):
        return functools.partial(view(step.out).fill_, step.value)
    if isinstance(step, Copy):
        return functools.partial(view(step.out).copy_, view(step.source))
    values = {name: _launch_value(value, view) for name, value in step.arguments}
    return functools.partial(
        kernels[step.kernel][step.grid], **values, num_warps=step.num_warps, num_stages=step.num_stages
    )


def _launch_value(value: Argument, view: Callable[[TensorRef], torch.Tensor]) -> Any:
    if isinstance(value, TensorRef):
        return view(value)
    if isinstance(value, DtypeName):
        return tl.int1 if value.name == "bool" else getattr(tl, value.name)
    return value


def tensor_at(buffer: torch.Tensor, ref: TensorRef) -> torch.Tensor:
    """The tensor `ref` in the memory that starts where `buffer` does; not an autograd view, so that whoever
    gets it may modify it in place.
    """
    start = buffer.storage_offset() * buffer.element_size()
    tensor = torch.empty(0, dtype=getattr(torch, ref.dtype), device=buffer.device)
    tensor.set_(buffer.untyped_storage(), start // ref.itemsize + ref.offset, ref.shape, ref.strides)
    return tensor


class _Memory:
    """The buffers of a running plan: the caller's tensors, and scratch that is allocated when first used."""

    def __init__(self, plan: Plan, arguments: Mapping[str, torch.Tensor]) -> None:
        self._plan = plan
        self._arguments = {plan.argument(name): tensor for name, tensor in arguments.items()}
        self._scratch: dict[int, torch.Tensor] = {}
        self.anchor: torch.Tensor = next(iter(self._arguments.values()))

    def restore(self, kept: Mapping[int, torch.Tensor]) -> None:
        self._scratch.update(kept)

    def whole(self, index: int) -> torch.Tensor:
        """A scratch buffer as bytes."""
        if index not in self._scratch:
            nbytes = self._plan.buffers[index].nbytes
            self._scratch[index] = torch.empty(nbytes, dtype=torch.uint8, device=self.anchor.device)
        return self._scratch[index]

    def view(self, ref: TensorRef) -> torch.Tensor:
        """The tensor `ref`; not an autograd view, so a caller may modify a result in place."""
        buffer = self._arguments[ref.buffer] if ref.buffer in self._arguments else self.whole(ref.buffer)
        return tensor_at(buffer, ref)

    def result(self, ref: TensorRef, earlier: Sequence[TensorRef]) -> torch.Tensor:
        """The tensor `ref`, dense, in memory that it shares with no argument and no `earlier` result."""
        tensor = self.view(ref)
        shared = ref.buffer in self._arguments or any(ref.buffer == other.buffer for other in earlier)
        return tensor.clone(memory_format=torch.contiguous_format) if shared else tensor.contiguous()
