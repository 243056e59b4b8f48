"""How a bound mechanism computes: its PyTorch form in this process, or launch plans of its kernels.

A plan is traced once per layout of the tensors and serves every device; on a CPU the instrumented
interpreter runs it, on a CUDA device its kernels are compiled and launched. Both runners keep nothing
between forward and backward: what backward needs is returned as tensors, for autograd to hold.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Protocol

import torch

from verify.device.runner import Forward, carried
from verify.oracle import definitions
from verify.plan.executor import PlanExecutor
from verify.plan.format import Plan, TensorRef
from verify.plan.request import Layout, TraceRequest
from verify.plan.signatures import kernel_signatures
from verify.plan.tracer import trace
from verify.source.contract import TensorSpec
from verify.source.static import Mechanism, blank_out
from verify.triton_cpu.interpreter.launch import WorkLimits
from verify.triton_cpu.memory.arena import MemoryEvent

MAX_PLANS = 512
POISON = 0xFF  # NaN in every float format, so a read of unwritten memory does not pass for a number


def dtype_name(dtype: torch.dtype) -> str:
    """`torch.bfloat16` -> "bfloat16", the name used in plans and in a SPEC."""
    return str(dtype).removeprefix("torch.")


class EagerForm:
    """`parallel`, or `reference` where there is none, run eagerly and differentiated by ordinary autograd.

    Computes in float32 whatever the io dtype, and rounds the output once: definitions are judged in one dtype
    throughout, and a CPU gains nothing from narrow operands.
    """

    def __init__(self, mechanism: Mechanism) -> None:
        self.name = "parallel" if mechanism.has_parallel else "reference"
        self._function = definitions(mechanism.source)[self.name]
        self._spec = mechanism.spec

    def __call__(
        self, arguments: Sequence[torch.Tensor], state: Sequence[torch.Tensor], io: torch.dtype
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        """Output in `io` and the new state, each in its SPEC dtype."""
        wide = [_to_float32(tensor) for tensor in arguments]
        output, final = self._function(
            *wide, state=tuple(_to_float32(tensor) for tensor in state), **self._spec.constants
        )
        entries = zip(self._spec.state, final, strict=True)
        return output.to(io), tuple(tensor.to(torch_dtype(entry, io)) for entry, tensor in entries)


def _to_float32(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def torch_dtype(entry: TensorSpec, io: torch.dtype) -> torch.dtype:
    """The dtype that an entry of the SPEC has in a run whose io dtype is `io`."""
    return io if entry.dtype == "io" else getattr(torch, entry.dtype)


def layout_of(tensor: torch.Tensor) -> Layout:
    """The layout of a tensor whose buffer starts at its first element and ends with its last."""
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return Layout(
        shape=tuple(tensor.shape),
        strides=tuple(tensor.stride()),
        offset=0,
        dtype=dtype_name(tensor.dtype),
        length=last + 1 if tensor.numel() else 0,
    )


PlanKey = tuple[tuple[Layout, ...], Layout, tuple[bool, ...] | None, int]


class Plans:
    """Traces a mechanism's wrappers, once per layouts, `needs` and tuning; forgets the oldest in use."""

    def __init__(self, mechanism: Mechanism) -> None:
        self._mechanism = mechanism
        self._signatures = kernel_signatures(mechanism.source, mechanism.kernels)
        self._cache: OrderedDict[PlanKey, Plan] = OrderedDict()

    def plan(
        self, tensors: Sequence[torch.Tensor], output: Layout, needs: tuple[bool, ...] | None, tuning: int
    ) -> Plan:
        """The plan for `tensors` (inputs, params, state in SPEC order), with `output` the layout of the
        output.

        `needs` None plans forward only. Cotangents are planned dense. Raises `verify.sandbox.wire.Refusal`
        where the wrappers do not trace and ValueError where their results do not keep the SPEC.
        """
        layouts = tuple(layout_of(tensor) for tensor in tensors)
        key: PlanKey = (layouts, output, needs, tuning)
        found = self._cache.get(key)
        if found is None:
            found = self._cache[key] = self._trace(layouts, output, needs, tuning)
            if len(self._cache) > MAX_PLANS:
                self._cache.popitem(last=False)
        self._cache.move_to_end(key)
        return found

    def __len__(self) -> int:
        return len(self._cache)

    def _trace(
        self, layouts: tuple[Layout, ...], output: Layout, needs: tuple[bool, ...] | None, tuning: int
    ) -> Plan:
        spec = self._mechanism.spec
        named = [(entry.name, layout) for entry, layout in zip(spec.differentiated, layouts, strict=True)]
        inputs, arguments = len(spec.inputs), len(spec.arguments)
        states = tuple(named[arguments:])
        plan = trace(
            self._mechanism.source,
            TraceRequest(
                inputs=tuple(named[:inputs]),
                params=tuple(named[inputs:arguments]),
                state=states,
                d_output=output,
                d_state=tuple(Layout.dense(layout.shape, layout.dtype) for _, layout in states),
                needs=needs,
                tuning=self._mechanism.tuning[tuning],
                constants=spec.constants,
            ),
            self._signatures,
        )
        _check_result("output", plan.output, output)
        for (name, layout), ref in zip(states, plan.state, strict=True):
            _check_result(name, ref, layout)
        if needs is not None and plan.gradients is not None:
            for (name, layout), needed, gradient in zip(named, needs, plan.gradients, strict=True):
                if needed:
                    _check_result(f"the gradient of {name}", gradient, layout)
        return plan


def _check_result(what: str, ref: TensorRef | None, expected: Layout) -> None:
    if ref is None or (ref.shape, ref.dtype) != (expected.shape, expected.dtype):
        got = "None" if ref is None else f"{ref.shape} in {ref.dtype}"
        raise ValueError(
            f"{what}: expected {expected.shape} in {expected.dtype}, got {got}. Fix the mechanism's wrapper."
        )


class Runner(Protocol):
    """Runs the two phases of a plan. `arguments` holds tensors by plan argument; results are dense."""

    def forward(self, plan: Plan, arguments: Mapping[str, torch.Tensor]) -> Forward:
        """Output then state."""

    def backward(
        self, plan: Plan, arguments: Mapping[str, torch.Tensor], kept: Sequence[torch.Tensor]
    ) -> tuple[torch.Tensor | None, ...]:
        """One gradient per input, param and state; `arguments` has the cotangents too. `kept` is used up."""


class KernelFault(RuntimeError):
    """The interpreter saw a kernel misuse memory, which an admitted mechanism does not do."""

    @classmethod
    def check(cls, events: Sequence[MemoryEvent]) -> None:
        """Raise where an event is an error; one that is benign is no misuse."""
        if errors := [event for event in events if event.severity == "error"]:
            raise cls(errors)

    def __init__(self, events: Sequence[MemoryEvent]) -> None:
        first = events[0]
        super().__init__(
            f"line {first.line} {first.kernel}: {first.kind} in {first.buffer} at element {first.offset} "
            f"({first.count} times; {len(events)} places in all); expected kernels that stay inside their "
            "tensors. Run `verify` on the mechanism."
        )


class InterpretedRunner:
    """Runs plans on CPU tensors in the instrumented interpreter: exact and checked, and slow."""

    def __init__(self, mechanism: Mechanism) -> None:
        # The judge's work limits bound a hostile kernel; training an admitted one has no such bound.
        unlimited = WorkLimits(launches=1 << 62, programs=1 << 62, loop_steps=1 << 62)
        self._executor = PlanExecutor(blank_out(mechanism.source, keep="kernels"), limits=unlimited)

    def forward(self, plan: Plan, arguments: Mapping[str, torch.Tensor]) -> Forward:
        refs, keep = (plan.output, *plan.state), carried(plan)
        contents = {plan.argument(name): _span_bytes(tensor) for name, tensor in arguments.items()}
        run = self._executor.run_phase(plan, plan.forward, contents, results=refs, keep=keep, poison=POISON)
        KernelFault.check(run.events)
        return Forward(
            results=tuple(_from_bytes(data, ref) for data, ref in zip(run.results, refs, strict=True)),
            kept=tuple(_bytes_tensor(run.kept[index]) for index in keep),
            shared=(),
        )

    def backward(
        self, plan: Plan, arguments: Mapping[str, torch.Tensor], kept: Sequence[torch.Tensor]
    ) -> tuple[torch.Tensor | None, ...]:
        contents = {plan.argument(name): _span_bytes(tensor) for name, tensor in arguments.items()}
        contents |= {index: _span_bytes(tensor) for index, tensor in zip(carried(plan), kept, strict=True)}
        gradients = plan.gradients or ()
        refs = [ref for ref in gradients if ref is not None]
        run = self._executor.run_phase(plan, plan.backward, contents, results=refs, keep=(), poison=POISON)
        KernelFault.check(run.events)
        found = iter(zip(run.results, refs, strict=True))
        return tuple(None if ref is None else _from_bytes(*next(found)) for ref in gradients)


def _span_bytes(tensor: torch.Tensor) -> bytes:
    """The bytes from a tensor's first element to its last, whatever lies between them."""
    flat = tensor.detach().as_strided((layout_of(tensor).length,), (1,))
    data: bytes = flat.contiguous().view(torch.uint8).numpy().tobytes()
    return data


def _bytes_tensor(data: bytes) -> torch.Tensor:
    if not data:
        return torch.empty(0, dtype=torch.uint8)
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)


def _from_bytes(data: bytes, ref: TensorRef) -> torch.Tensor:
    dtype = getattr(torch, ref.dtype)
    if not data:
        return torch.empty(ref.shape, dtype=dtype)
    return torch.frombuffer(bytearray(data), dtype=dtype).reshape(ref.shape).clone()
