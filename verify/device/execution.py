"""Run a launch plan on a device as the interpreter would: guard zones, poison, raw results.

A device shows neither which element was written nor who reads what, so every plan is run three times in
fresh memory: twice under the given poison, which must give the same bits, and once under its complement.
A byte that equals the poison both times was never written; bits that differ otherwise depend on memory that
nothing wrote. Every buffer has a guard zone on either side, filled with the poison of the run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from verify.device.runner import bind, tensor_at
from verify.plan.format import Launch, Plan, Step, TensorRef
from verify.triton_cpu.interpreter.launch import Counters, KernelCounters

GUARD_BYTES = 4096
ALIGNMENT = 512
"""Buffers begin at multiples of this, as PyTorch's allocator gives them: compiled code may assume 16."""

ORDER, POISON = "different bits in a second run", "different bits under another poison"
"""Kinds of events that only repetition shows."""


class Memory:
    """The buffers of one run of a plan, in one allocation with guard zones; all of it starts as `poison`."""

    def __init__(
        self, plan: Plan, contents: Mapping[int, bytes | memoryview], poison: int, device: str
    ) -> None:
        self._plan, self._poison = plan, poison
        self._starts: list[int] = []
        end = GUARD_BYTES
        for decl in plan.buffers:
            self._starts.append(end)
            end += -(-decl.nbytes // ALIGNMENT) * ALIGNMENT + GUARD_BYTES
        self._bytes = torch.full((end,), poison, dtype=torch.uint8, device=device)
        for index, data in contents.items():
            if len(data):
                source = torch.frombuffer(bytearray(data), dtype=torch.uint8)
                self.whole(index).copy_(source)

    def whole(self, index: int) -> torch.Tensor:
        """A buffer, uint8 (nbytes,)."""
        start = self._starts[index]
        return self._bytes[start : start + self._plan.buffers[index].nbytes]

    def view(self, ref: TensorRef) -> torch.Tensor:
        """The tensor `ref` of the plan."""
        return tensor_at(self._bytes[self._starts[ref.buffer] :], ref)

    def raw(self, ref: TensorRef) -> bytes:
        """A tensor's elements in row-major order, as raw storage."""
        tensor = self.view(ref).contiguous()
        if tensor.numel() == 0:
            return b""
        data: bytes = tensor.view(-1).view(torch.uint8).cpu().numpy().tobytes()
        return data

    def damaged(self) -> tuple[str, ...]:
        """Buffers beside which a byte changed, guard zones and padding alike."""
        intact = self._bytes == self._poison
        found = []
        for index, decl in enumerate(self._plan.buffers):
            start, stop = self._starts[index], self._starts[index] + decl.nbytes
            after = self._starts[index + 1] if index + 1 < len(self._starts) else len(self._bytes)
            sound = intact[stop:after].all()
            if index == 0:
                sound &= intact[:start].all()
            if not bool(sound):
                found.append(decl.argument or f"{decl.label} (buffer {index})")
        return tuple(found)


@dataclass(frozen=True, kw_only=True)
class DeviceEvent:
    """As `MemoryEvent`, but of the whole plan: a device does not say which kernel, line or program it was.

    `offset` (elements) is the first one that differs, `count` the number of bytes that do.
    """

    kind: str
    buffer: str
    offset: int
    count: int
    kernel: str = "the kernels on the device"
    line: int = 0
    program: tuple[int, int, int] = (0, 0, 0)


@dataclass(frozen=True, kw_only=True)
class DeviceExecution:
    """What came out of the runs of a plan; fields as in `verify.plan.executor.Execution`."""

    results: dict[str, bytes]
    uncovered: dict[str, int]
    changed: tuple[str, ...]
    guards: tuple[str, ...]
    events: tuple[DeviceEvent, ...]
    counters: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class _Run:
    results: dict[str, bytes]
    changed: tuple[str, ...]
    guards: tuple[str, ...]


class DeviceExecutor:
    """Executes plans of one mechanism on `device` ("cuda:0"); `kernels` are those of `load_kernels`."""

    def __init__(self, kernels: Mapping[str, Any], device: str) -> None:
        self._kernels, self._device = kernels, device

    def run(
        self,
        plan: Plan,
        arguments: Mapping[str, bytes | memoryview],
        names: tuple[tuple[str, ...], tuple[str, ...]],
        *,
        poison: int,
        omit: str | None = None,
    ) -> DeviceExecution:
        """Run forward, and backward if the plan has one; arguments as for `PlanExecutor.run`.

        Launches of the kernel `omit` are left out; the order of programs is the device's own.

        Raises what torch and Triton raise where a kernel cannot be compiled or launched, or faults.
        """
        contents = {plan.argument(name): data for name, data in arguments.items()}
        whole = plan if omit is None else _without(plan, omit)
        first, again, other = (
            self._once(whole, contents, names, fill) for fill in (poison, poison, poison ^ 0xFF)
        )
        uncovered, events = {}, []
        for name, ref in plan.results(*names):
            held, twice, moved = (np.frombuffer(run.results[name], np.uint8) for run in (first, again, other))
            missing = (held == poison) & (moved == poison ^ 0xFF)
            uncovered[name] = int(np.count_nonzero(missing))
            unstable, poisoned = held != twice, (held != moved) & ~missing
            if unstable.any():
                events.append(_event(ORDER, name, unstable, ref))
            elif poisoned.any():
                events.append(_event(POISON, name, poisoned, ref))
        runs = (first, again, other)
        return DeviceExecution(
            results=first.results,
            uncovered=uncovered,
            changed=tuple(sorted({name for run in runs for name in run.changed})),
            guards=tuple(sorted({name for run in runs for name in run.guards})),
            events=tuple(events),
            counters=asdict(_count(plan)),
        )

    def _once(
        self,
        plan: Plan,
        contents: Mapping[int, bytes | memoryview],
        names: tuple[tuple[str, ...], tuple[str, ...]],
        poison: int,
    ) -> _Run:
        memory = Memory(plan, contents, poison, self._device)
        given = {
            decl.argument: memory.whole(index).clone()
            for index, decl in enumerate(plan.buffers)
            if decl.argument is not None
        }
        refs = plan.results(*names)
        self._steps(plan.forward, memory)
        handed_out = {name: memory.raw(ref) for name, ref in refs if not name.startswith("d_")}
        self._steps(plan.backward, memory)
        left = {name: memory.raw(ref) for name, ref in refs}
        changed = [
            name
            for name, before in given.items()
            if not torch.equal(before, memory.whole(plan.argument(name)))
        ]
        changed += [name for name, data in handed_out.items() if data != left[name]]
        return _Run(results={**left, **handed_out}, changed=tuple(changed), guards=memory.damaged())

    def _steps(self, steps: Sequence[Step], memory: Memory) -> None:
        with torch.no_grad():
            for step in steps:
                bind(step, self._kernels, memory.view)()


def _without(plan: Plan, kernel: str) -> Plan:
    """The plan without the launches of one kernel."""

    def rest(steps: Sequence[Step]) -> tuple[Step, ...]:
        return tuple(step for step in steps if not (isinstance(step, Launch) and step.kernel == kernel))

    return replace(plan, forward=rest(plan.forward), backward=rest(plan.backward))


def _event(kind: str, name: str, differs: npt.NDArray[np.bool_], ref: TensorRef) -> DeviceEvent:
    first = int(np.argmax(differs)) // ref.itemsize
    return DeviceEvent(kind=kind, buffer=name, offset=first, count=int(np.count_nonzero(differs)))


def _count(plan: Plan) -> Counters:
    """What a plan says about its own work; a device counts neither steps nor flops."""
    counters = Counters()
    for launch in plan.launches:
        for target in (counters, counters.kernels.setdefault(launch.kernel, KernelCounters())):
            target.launches += 1
            target.programs += launch.programs
    return counters
